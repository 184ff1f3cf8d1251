-- name: counted_once
select case
    when event.id is null then format('usage event %s of account %s is registered and was not recorded', id, account)
    when register.id is null then format('usage event %s of account %s is not in the register', id, account)
    else format('usage event %s of account %s was recorded %s times', id, account, event.times)
end as problem
from (select account, id, count(*) as times from usage_event group by account, id) as event
full join usage_event_register as register using (account, id)
where event.times is distinct from 1 or register.id is null
limit :most::bigint;

-- name: charged_as_held
with told as (
    select hold, account, meter, starts_at, sum(increase) as units, sum(charge) as charge
    from usage_event where hold is not null group by hold, account, meter, starts_at
)
select format('usage events of %s come to %s units for %s, hold %s claims %s for %s', told.meter, told.units,
    told.charge, told.hold, claim.used, claim.charge) as problem
from told
left join hold on hold.id = told.hold and hold.account = told.account and hold.state = 'settled'
left join lateral unnest(hold.claims) as claim on claim.meter = told.meter and claim.starts_at = told.starts_at
where told.units is distinct from claim.used or told.charge is distinct from claim.charge
limit :most::bigint;
