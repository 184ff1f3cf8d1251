-- name: due
-- The expression is that of the index subscription_due.
select organization from subscription
where ended_at is null
    and least(
            grace_ends_at,
            case when stripe_subscription is null then
                least(pending_at, cancel_at, case status when 'trialing' then trial_ends_at end)
            end
        ) <= least(coalesce(:now::timestamptz, clock_timestamp()), clock_timestamp())
    and organization > :after
order by organization
limit :row_limit;
