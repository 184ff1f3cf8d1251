-- name: plan_anew!
-- A plan that is made for all values walks through everybody's events to find the three of one organization.
set local plan_cache_mode = force_custom_plan;

-- name: page
-- What comes nearest behind or before `from_seq`, in that order. Of the two halves one is known to be empty when this is
-- planned; the other is a walk along an index.
with asked as not materialized (
    select * from audit_log
    where (:organization::text is null or organization = :organization::text)
        and (:act::text is null or act = :act::text)
        and (:act_prefix::text is null or starts_with(act, :act_prefix::text))
        and (:subject::text is null or subject = :subject::text)
        and (:since::timestamptz is null or at >= :since::timestamptz)
        and (:until::timestamptz is null or at < :until::timestamptz)
)
select * from (
    (
        select * from asked where :backwards::boolean and seq < :from_seq::bigint
        order by seq desc limit :row_limit::bigint
    )
    union all
    (
        select * from asked where not :backwards::boolean and seq > :from_seq::bigint
        order by seq limit :row_limit::bigint
    )
) as page
order by abs(seq - :from_seq::bigint);
