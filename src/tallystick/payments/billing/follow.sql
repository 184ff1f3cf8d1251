-- name: lock_customer$
-- Whoever brings our rows up to date is alone with this customer until the transaction ends.
select looked from stripe_customer where id = :id for no key update;

-- name: count_look!
update stripe_customer set looked = looked + 1 where id = :id;

-- name: linked^
-- The live subscription that Stripe bills, and its plan.
select stripe_subscription, plan_version from subscription
where organization = :organization and ended_at is null and stripe_subscription is not null;

-- name: keep!
-- How it stands, without what is made of it here.
insert into stripe_subscription (
    id, organization, livemode, status, price, plan_version, period_starts_at, period_ends_at, cancel_at, created_at,
    ended_at, problem
) values (
    :id, :organization, :livemode, :status, :price, :plan_version, :period_starts_at, :period_ends_at, :cancel_at,
    :created_at, :ended_at, :problem
)
on conflict (id) do update set
    status = excluded.status, price = excluded.price, plan_version = excluded.plan_version,
    period_starts_at = excluded.period_starts_at, period_ends_at = excluded.period_ends_at,
    cancel_at = excluded.cancel_at, ended_at = excluded.ended_at, problem = excluded.problem,
    looked_at = clock_timestamp();
