-- name: prices
-- Those that were made from the catalog, and those that an operator wrote into it.
select p.plan, p.plan_version, p.meter, p.id, p.active,
       (select count(*) from stripe_subscription s where s.price = p.id and s.ended_at is null) as subscriptions
from stripe_price p
where p.livemode = :livemode
union all
select e.name, e.id, null, e.document ->> 'stripe_price', true,
       (select count(*) from stripe_subscription s where s.plan_version = e.id and s.ended_at is null)
from catalog_entry e
where e.kind = 'plan' and e.document ->> 'stripe_price' is not null and not e.retired
order by 1, 2, 3 nulls first;

-- name: meters
select meter, id, event_name from stripe_meter where livemode = :livemode order by meter;

-- name: apart
-- Alive at Stripe, and not the organization's subscription here.
select id, organization, status, problem from stripe_subscription
where livemode = :livemode and problem is not null
order by organization, id;

-- name: customers^
select count(*) filter (where c.id is not null) as ready, count(*) filter (where c.id is null) as waiting
from organization o
left join stripe_customer c on c.organization = o.id and c.livemode = :livemode;
