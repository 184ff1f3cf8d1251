-- name: units
-- What was used of meters in stretches of time that do not overlap. What our own ledger charged is not there: it is paid
-- for. A request that cost its customer nothing by the outcome policy has a hold that was released, and is not there.
-- `offset 0`: each bucket is read by the index, and not every row compared with every bucket.
with bucket as (
    select starts_at, ends_at from unnest(:starts::timestamptz[], :ends::timestamptz[]) as bucket (starts_at, ends_at)
),
record as materialized (
    select
        bucket.starts_at, record.endpoint, record.charge, record.input_tokens, record.output_tokens, hold.claims,
        record.provider
    from bucket
    cross join lateral (
        select id, endpoint, provider, charge, input_tokens, output_tokens
        from usage_record
        where account = :account and at >= bucket.starts_at and at < bucket.ends_at
        offset 0
    ) as record
    join lateral (select state, claims from hold where hold.id = record.id limit 1) as hold on hold.state = 'settled'
),
part as (
    select event.meter, bucket.starts_at, event.increase as units
    from bucket
    cross join lateral (
        select meter, increase
        from usage_event
        where account = :account and at >= bucket.starts_at and at < bucket.ends_at and charge = 0
            and (:recorded_before::timestamptz is null or recorded_at < :recorded_before)
        offset 0
    ) as event
    union all
    select claim.meter, record.starts_at, claim.used
    from record, unnest(record.claims) as claim
    where claim.starts_at is not null and claim.charge = 0
    union all
    select token.meter, sums.starts_at, token.units
    from (
        select
            starts_at, replace(provider, '-', '_') as provider,
            sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens
        from record
        where endpoint <> 'charge' and charge = 0
        group by starts_at, provider
    ) as sums
    cross join lateral (
        values
            ('llm_tokens_' || sums.provider, sums.input_tokens + sums.output_tokens),
            ('llm_input_tokens_' || sums.provider, sums.input_tokens),
            ('llm_output_tokens_' || sums.provider, sums.output_tokens)
    ) as token (meter, units)
)
select meter, starts_at, sum(units)::bigint as units
from part
where meter = any(:meters::text[])
group by meter, starts_at
having sum(units) > 0;

-- name: kept^
select agent_sessions, llm_tokens, until
from period_usage
where account = :account and starts_at = :starts_at and until <= :ends_at;

-- name: keep!
-- Of the period that was asked for last. Whoever is slower than another takes nothing back.
insert into period_usage (account, starts_at, until, agent_sessions, llm_tokens)
values (:account, :starts_at, :until, :agent_sessions, :llm_tokens)
on conflict (account) do update set
    starts_at = excluded.starts_at, until = excluded.until, agent_sessions = excluded.agent_sessions,
    llm_tokens = excluded.llm_tokens
where period_usage.starts_at <> excluded.starts_at or period_usage.until < excluded.until;

-- name: told^
-- By events, which are few, and may be told of any moment of a period as long as it lasts.
select
    coalesce(sum(increase) filter (where meter = 'agent_sessions'), 0)::bigint as agent_sessions,
    coalesce(sum(increase) filter (where meter <> 'agent_sessions'), 0)::bigint as llm_tokens
from usage_event
where account = :account and at >= :starts_at and at < :ends_at
    and meter in ('agent_sessions', 'input_tokens', 'output_tokens', 'llm_inferences');

-- name: recorded^
-- Through the gateway and by charges: of all that was used since then, and of what of it is final. A record is dated by
-- the statement that writes it, so that none is written a day later.
with moment as materialized (
    select least(:ends_at::timestamptz, date_trunc('hour', clock_timestamp() - interval '1 day')) as final_at
)
select
    moment.final_at,
    coalesce(sum(part.sessions), 0)::bigint as agent_sessions,
    coalesce(sum(part.tokens), 0)::bigint as llm_tokens,
    coalesce(sum(part.sessions) filter (where part.final), 0)::bigint as final_agent_sessions,
    coalesce(sum(part.tokens) filter (where part.final), 0)::bigint as final_llm_tokens
from moment
left join lateral (
    select
        record.at < moment.final_at as final,
        sum(
            case when record.endpoint = 'charge' then (
                select sum(claim.used)
                from hold, unnest(hold.claims) as claim
                where hold.id = record.id and hold.state = 'settled' and claim.meter = 'agent_sessions'
                    and claim.starts_at is not null
            ) end
        ) as sessions,
        sum(record.input_tokens + record.output_tokens) as tokens
    from usage_record as record
    where record.account = :account and record.at >= :since and record.at < :ends_at
    group by record.at < moment.final_at
) as part on true
group by moment.final_at;
