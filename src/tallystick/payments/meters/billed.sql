-- name: organizations
select distinct organization
from subscription
where stripe_subscription is not null and organization > :after
    and (ended_at is null or ended_at > :ended_after)
order by organization
limit :row_limit;

-- name: lock^
select pg_advisory_xact_lock(31260, hashtext(:organization));

-- name: organization^
select
    organization.account, customer.id as customer,
    least(coalesce(:now::timestamptz, clock_timestamp()), clock_timestamp()) as now
from organization
left join stripe_customer as customer on customer.organization = organization.id and customer.livemode = :livemode
where organization.id = :organization;

-- name: steps
-- In the order in which they were noted: the last word on a moment is the one that was noted last.
select
    effective_at,
    case when after ->> 'status' <> 'canceled' and after ->> 'stripe_subscription' is not null then
        (after ->> 'plan_version')::bigint
    end as plan_version,
    (after ->> 'anchor')::timestamptz as anchor,
    after ->> 'stripe_customer' as customer
from subscription_event
where organization = :organization and subscription is not null and after is not null
order by seq;

-- name: told
select
    meter, starts_at, coalesce(sum(units) filter (where state <> 'canceled'), 0)::bigint as units,
    max(revision) as revision
from meter_report
where organization = :organization and livemode = :livemode and starts_at >= :since
group by meter, starts_at;

-- name: taken
select meter, counts_at
from meter_report
where organization = :organization and livemode = :livemode and counts_at >= :since;
