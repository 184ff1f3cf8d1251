-- name: standing^
-- The live subscription, and the period that Stripe said it is in.
select s.trial_ends_at, s.status, b.period_starts_at, b.period_ends_at
from subscription as s
left join stripe_subscription as b on b.id = s.stripe_subscription
where s.organization = :organization and s.ended_at is null;

-- name: had_one$
select exists (select from subscription where organization = :organization);
