-- name: versions
-- What the operator wrote into the catalog, and what was made at Stripe from it.
select document ->> 'stripe_price' as price, id as plan_version
from catalog_entry
where kind = 'plan' and not retired and document ->> 'stripe_price' = any(:prices::text[])
union
select id, plan_version from stripe_price
where id = any(:prices::text[]) and livemode = :livemode and meter is null
order by plan_version;

-- name: metered
select id from stripe_price
where plan_version = :plan_version and livemode = :livemode and meter is not null and active
order by meter;
