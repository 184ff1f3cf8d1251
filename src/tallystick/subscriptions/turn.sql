-- name: lock_organization^
-- Not FOR UPDATE: nobody who only refers to the organization, such as a new key, needs to wait.
select id from organization where id = :id for no key update;

-- name: moment$
select least(coalesce(:now::timestamptz, clock_timestamp()), clock_timestamp());

-- name: insert!
-- created_at by the caller's moment, which is that of the anchor too.
insert into subscription (
    id, organization, plan_version, status, anchor, trial_ends_at, pending_plan_version, pending_at, cancel_at,
    past_due_since, grace_ends_at, stripe_customer, stripe_subscription, created_at, ended_at
) values (
    :id, :organization, :plan_version, :status, :anchor, :trial_ends_at, :pending_plan_version, :pending_at,
    :cancel_at, :past_due_since, :grace_ends_at, :stripe_customer, :stripe_subscription, :created_at, :ended_at
);

-- name: update!
-- The whole row, but for whose it is: the caller has the turn and read all of it.
update subscription set
    plan_version = :plan_version, status = :status, anchor = :anchor, trial_ends_at = :trial_ends_at,
    pending_plan_version = :pending_plan_version, pending_at = :pending_at, cancel_at = :cancel_at,
    past_due_since = :past_due_since, grace_ends_at = :grace_ends_at, stripe_customer = :stripe_customer,
    stripe_subscription = :stripe_subscription, created_at = :created_at, ended_at = :ended_at
where id = :id;

-- name: record!
insert into subscription_event
    (organization, subscription, what, done_by, effective_at, before, after, proration)
values
    (:organization, :subscription, :what, :done_by, :effective_at, :before, :after, :proration);
