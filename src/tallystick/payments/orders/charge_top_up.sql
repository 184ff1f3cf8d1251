-- name: clock$
select clock_timestamp();

-- name: lock_top_up$
select organization from top_up where organization = :organization for update;

-- name: due
-- Who has less than agreed, and may be charged now: not too soon after the last time, within the month's ceiling, with
-- nothing under way. All of it here, so that those who must wait keep nobody else from being seen.
select t.organization
from top_up t
join ledger_account a on a.id = t.account
join organization o on o.id = t.organization
where t.enabled and t.stopped is null and o.state = 'active'
    and (:organization::text is null or t.organization = :organization)
    and a.posted - a.held < t.threshold
    and not exists (
        select from payment_order p
        where p.organization = t.organization and p.kind = 'top_up'
            and (
                p.created_at > clock_timestamp() - t.cool_down
                or p.state in ('created', 'awaiting_payment', 'paid')
            )
    )
    and t.amount_minor + (
        select coalesce(sum(p.amount_minor), 0) from payment_order p
        where p.organization = t.organization and p.kind = 'top_up' and p.state not in ('failed', 'expired')
            and p.created_at >= date_trunc('month', clock_timestamp() at time zone 'UTC') at time zone 'UTC'
    ) <= t.monthly_max_minor
limit :row_limit;

-- name: open_top_ups
select * from payment_order
where kind = 'top_up' and state in ('created', 'awaiting_payment') and livemode = :livemode
order by created_at
limit :row_limit;
