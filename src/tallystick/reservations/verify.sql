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
    input_audio_tokens, output_audio_tokens, images, usage_source, cost, charge - overage as charge, outcome,
    'plan' = any(string_to_array(rule, '+')) as covered, min(id::text) as id, count(*) as records
from usage_record
where cost_id is not null and price_id is not null
group by
    cost_id, price_id, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    input_audio_tokens, output_audio_tokens, images, usage_source, cost, charge - overage, outcome, covered;

-- name: meters_add_up
-- Each counter of a billing period against the claims of its holds.
with claimed as (
    select
        hold.account, claim.meter, claim.starts_at,
        sum(claim.used) filter (where hold.state = 'settled')::bigint as used,
        sum(claim.units) filter (where hold.state = 'open')::bigint as held
    from hold cross join lateral unnest(hold.claims) as claim
    where hold.claims is not null and claim.starts_at is not null
    group by hold.account, claim.meter, claim.starts_at
)
select format(
    '%s of account %s from %s: the counter says %s used and %s held, its holds %s and %s', meter, account, starts_at,
    coalesce(counter.used, 0), coalesce(counter.held, 0), coalesce(claimed.used, 0), coalesce(claimed.held, 0)
) as problem
from claimed full join meter_counter as counter using (account, meter, starts_at)
where coalesce(counter.used, 0) <> coalesce(claimed.used, 0) or coalesce(counter.held, 0) <> coalesce(claimed.held, 0)
limit :most::bigint;

-- name: features_add_up
-- The running total of each window against its uses, and each use against the one before it.
with use as (
    select
        account, feature, cumulative, units, at,
        lag(cumulative) over per as before, lag(at) over per as before_at,
        cumulative = max(cumulative) over (partition by account, feature) as last
    from feature_use
    window per as (partition by account, feature order by at, cumulative)
)
select format(
    '%s of account %s: the use at %s brings it from %s by %s to %s, its total is %s', feature, account, use.at,
    coalesce(use.before, counter.pruned), use.units, use.cumulative, counter.total
) as problem
from use full join feature_counter as counter using (account, feature)
where use.cumulative is not null and use.cumulative - use.units is distinct from coalesce(use.before, counter.pruned)
    or use.last and use.cumulative <> counter.total
    -- All its uses were given back, or are no longer kept.
    or use.cumulative is null and counter.total <> counter.pruned
limit :most::bigint;

-- name: uses_are_claimed
-- The running total of each window against the holds that claimed its uses: what was forgotten counts in both.
with claimed as (
    select hold.account, claim.meter as feature, sum(claim.units)::bigint as units
    from hold cross join lateral unnest(hold.claims) as claim
    where hold.claims is not null and claim.starts_at is null and hold.state in ('open', 'settled')
    group by hold.account, claim.meter
)
select format('%s of account %s: its total is %s, its holds claim %s', feature, account, coalesce(counter.total, 0),
    coalesce(claimed.units, 0)) as problem
from claimed full join feature_counter as counter using (account, feature)
where coalesce(counter.total, 0) <> coalesce(claimed.units, 0)
limit :most::bigint;

-- name: overage_is_what_its_claims_say
select format('hold %s: its claims are charged %s beyond their allowances, its usage record says %s', record.id,
    coalesce(claims.charge, 0), record.overage) as problem
from usage_record as record
join hold on hold.id = record.id
left join lateral (select sum(claim.charge) as charge from unnest(hold.claims) as claim) as claims on true
where record.overage <> case when hold.state = 'settled' then coalesce(claims.charge, 0) else 0 end
limit :most::bigint;

-- name: periods_cost_what_they_used
-- Where a meter had one price all period, what it was charged for is exactly what was used beyond the allowance.
with charged as (
    select
        hold.account, claim.meter, claim.starts_at, min(claim.allowance) as allowance, min(claim.price) as price,
        min(claim.per) as per, sum(claim.charge)::bigint as charge, sum(claim.used)::bigint as used
    from hold cross join lateral unnest(hold.claims) as claim
    where hold.state = 'settled' and hold.claims is not null and claim.starts_at is not null
    group by hold.account, claim.meter, claim.starts_at
    having count(distinct (claim.allowance, claim.price, claim.per)) = 1
)
select format('%s of account %s from %s: %s used cost %s, and %s was charged', meter, account, starts_at, used,
    price_of(used - allowance, price, per), charge) as problem
from charged
where price_of(used - allowance, price, per) <> charge
limit :most::bigint;
