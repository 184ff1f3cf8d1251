-- name: records_have_holds
select case
    when hold.id is null then format('usage record %s has no hold', record.id)
    when hold.account <> record.account
        then format('usage record %s names account %s, its hold account %s', record.id, record.account, hold.account)
    when hold.state not in ('settled', 'released')
        then format('usage record %s tells of an end, its hold is %s', record.id, hold.state)
    else format('usage record %s says %s was charged, its hold %s', record.id, record.charge, coalesce(hold.actual, 0))
end as problem
from usage_record as record
left join hold on hold.id = record.id
where hold.id is null or hold.account <> record.account or hold.state not in ('settled', 'released')
    or record.charge <> coalesce(hold.actual, 0)
limit :most::bigint;

-- name: recorded_once
select format('request %s has %s usage records', id, count(*)) as problem
from usage_record group by id having count(*) > 1 limit :most::bigint;

-- name: transfers_sum_to_actual
with charged as (
    select operation as id, sum(amount) as amount
    from transfer where kind in ('usage', 'deduction', 'shortfall') group by operation
)
select case
    when hold.id is null then format('%s was charged %s and has no hold', id, charged.amount)
    else format('hold %s is %s with %s, its transfers sum to %s', id, hold.state, coalesce(hold.actual, 0),
        coalesce(charged.amount, 0))
end as problem
from charged full join hold using (id)
where coalesce(hold.actual, 0) <> coalesce(charged.amount, 0) or (hold.id is null) limit :most::bigint;

-- name: costs_accrued
-- One accrual per batch, at the moment of the batch and of its usage records.
with recorded as (
    select at, sum(cost) as cost from usage_record group by at having sum(cost) > 0
),
accrued as (
    select at, sum(amount) as cost from transfer where kind = 'provider_cost' group by at
)
select format('at %s a provider cost of %s was recorded and %s accrued', at, coalesce(recorded.cost, 0),
    coalesce(accrued.cost, 0)) as problem
from recorded full join accrued using (at)
where coalesce(recorded.cost, 0) <> coalesce(accrued.cost, 0) limit :most::bigint;

-- name: usage_by_price
-- Everything that the charge depends on, so that the same record is recomputed once however often it occurs.
select
    cost_id, price_id, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    input_audio_tokens, output_audio_tokens, images, usage_source, cost, charge, outcome, min(id::text) as id,
    count(*) as records
from usage_record
where cost_id is not null and price_id is not null
group by
    cost_id, price_id, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    input_audio_tokens, output_audio_tokens, images, usage_source, cost, charge, outcome;
