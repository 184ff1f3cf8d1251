-- name: find_top_up^
select * from top_up where organization = :organization;

-- name: set_top_up^
-- Whoever sets it has looked at it: it goes on where it stood still.
insert into top_up (
    organization, account, enabled, threshold, amount_minor, monthly_max_minor, currency, cool_down, payment_method,
    card, changed_by
) values (
    :organization, :account, :enabled, :threshold, :amount_minor, :monthly_max_minor, :currency, :cool_down,
    :payment_method, :card, :changed_by
)
on conflict (organization) do update set
    account = excluded.account, enabled = excluded.enabled, threshold = excluded.threshold,
    amount_minor = excluded.amount_minor, monthly_max_minor = excluded.monthly_max_minor,
    currency = excluded.currency, cool_down = excluded.cool_down, payment_method = excluded.payment_method,
    card = excluded.card, changed_by = excluded.changed_by, changed_at = clock_timestamp(),
    stopped = null, stopped_at = null
returning *;

-- name: remove_top_up^
delete from top_up where organization = :organization returning *;

-- name: stop_top_up!
update top_up set stopped = :reason, stopped_at = clock_timestamp()
where organization = :organization and stopped is null;

-- name: stop_after_money_back$
-- After a refund only where it is what the next charge would come of.
update top_up as t set stopped = :reason, stopped_at = clock_timestamp()
from ledger_account as a
where t.organization = :organization and t.stopped is null and a.id = t.account
    and (:reason = 'disputed' or a.posted - a.held < t.threshold)
returning t.stopped_at;

-- name: charged_this_month$
select coalesce(sum(amount_minor), 0) from payment_order
where organization = :organization and kind = 'top_up' and state not in ('failed', 'expired')
    and created_at >= date_trunc('month', clock_timestamp() at time zone 'UTC') at time zone 'UTC';
