-- name: live^
select
    id, organization, plan_version, status, anchor, trial_ends_at, pending_plan_version, pending_at, cancel_at,
    past_due_since, grace_ends_at, stripe_customer, stripe_subscription, created_at, ended_at
from subscription
where organization = :organization and ended_at is null;

-- name: billed_as^
-- Ended or not.
select
    id, organization, plan_version, status, anchor, trial_ends_at, pending_plan_version, pending_at, cancel_at,
    past_due_since, grace_ends_at, stripe_customer, stripe_subscription, created_at, ended_at
from subscription
where stripe_subscription = :stripe_subscription;

-- name: had_one$
select exists (select from subscription where organization = :organization);

-- name: count_by_version
select plan_version, count(*) as subscribers from subscription where ended_at is null group by plan_version;

-- name: list_live
-- By organization, for which at most one is live: a page ends where the next begins.
select
    id, organization, plan_version, status, anchor, trial_ends_at, pending_plan_version, pending_at, cancel_at,
    past_due_since, grace_ends_at, stripe_customer, stripe_subscription, created_at, ended_at
from subscription
where ended_at is null and organization > :after
order by organization
limit :row_limit;

-- name: history
select seq, subscription, what, done_by, effective_at, at, before, after, proration
from subscription_event
where organization = :organization
order by seq desc
limit :row_limit;
