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
