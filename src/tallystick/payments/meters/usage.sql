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

-- name: usage_in_period^
-- Whoever pays for it. Agent sessions come as events and as charges, tokens through the gateway and as events.
select
    (
        select coalesce(sum(increase), 0)
        from usage_event
        where account = :account and at >= :starts_at and at < :ends_at and meter = 'agent_sessions'
    )::bigint + record.sessions as agent_sessions,
    (
        select coalesce(sum(increase), 0)
        from usage_event
        where account = :account and at >= :starts_at and at < :ends_at
            and meter in ('input_tokens', 'output_tokens', 'llm_inferences')
    )::bigint + record.tokens as llm_tokens
from (
    select
        coalesce(sum(
            case when record.endpoint = 'charge' then (
                select sum(claim.used)
                from hold, unnest(hold.claims) as claim
                where hold.id = record.id and hold.state = 'settled' and claim.meter = 'agent_sessions'
                    and claim.starts_at is not null
            ) end
        ), 0)::bigint as sessions,
        coalesce(sum(record.input_tokens + record.output_tokens), 0)::bigint as tokens
    from usage_record as record
    where record.account = :account and record.at >= :starts_at and record.at < :ends_at
) as record;
