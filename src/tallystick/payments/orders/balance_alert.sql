-- name: thresholds
select threshold from balance_alert where organization = :organization order by threshold desc;

-- name: forget_others!
delete from balance_alert where organization = :organization and threshold <> all(:wanted::bigint[]);

-- name: add!
insert into balance_alert (organization, threshold, account)
select :organization, threshold, :account from unnest(:wanted::bigint[]) as threshold
on conflict (organization, threshold) do nothing;

-- name: arm!
update balance_alert b set armed = true
from ledger_account a
where a.id = b.account and not b.armed and a.posted >= b.threshold;

-- name: crossed
select distinct b.organization
from balance_alert b join ledger_account a on a.id = b.account
where b.armed and a.posted < b.threshold
limit :row_limit;

-- name: disarm
-- Locks the rows: of two who look at once only one tells.
update balance_alert b set armed = false, crossings = crossings + 1
from ledger_account a
where a.id = b.account and b.organization = :organization and b.armed and a.posted < b.threshold
returning b.threshold, b.crossings, a.posted, a.held;
