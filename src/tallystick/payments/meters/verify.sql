-- name: looks
-- Where the subscription was changed after the last look, the next one will see to what follows from it.
select
    organization, livemode, looked_at,
    exists (
        select from subscription_event as event
        where event.organization = look.organization and event.at > look.looked_at - interval '5 minutes'
    ) as changed
from meter_look as look
where looked_at > clock_timestamp() - interval '40 days'
order by organization, livemode;

-- name: identifiers
select format('usage report %s has an identifier that does not follow from it', id) as problem
from meter_report
where written_at > clock_timestamp() - interval '40 days'
    and identifier <> encode(sha256(convert_to(
        organization || '|' || meter || '|' || to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
        || case when extract(microseconds from starts_at)::bigint % 1000000 = 0 then ''
            else to_char(starts_at at time zone 'UTC', '.US') end
        || '+00:00|' || revision, 'UTF8')), 'hex')
limit :most::bigint;

-- name: kept
-- Each half by itself, as sums of records and of what charges claimed.
select format('account %s is kept with %s agent sessions and %s tokens since %s, and its records have %s and %s',
    kept.account, kept.agent_sessions, kept.llm_tokens, kept.starts_at, charged.sessions, called.tokens) as problem
from period_usage as kept
cross join lateral (
    select coalesce(sum(input_tokens + output_tokens), 0) as tokens
    from usage_record as record
    where record.account = kept.account and record.at >= kept.starts_at and record.at < kept.until
) as called
cross join lateral (
    select coalesce(sum(claim.used), 0) as sessions
    from usage_record as record
    join hold on hold.id = record.id and hold.state = 'settled', unnest(hold.claims) as claim
    where record.account = kept.account and record.at >= kept.starts_at and record.at < kept.until
        and record.endpoint = 'charge' and claim.meter = 'agent_sessions' and claim.starts_at is not null
) as charged
where kept.agent_sessions <> charged.sessions or kept.llm_tokens <> called.tokens
limit :most::bigint;
