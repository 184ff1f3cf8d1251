-- name: add!
insert into debt (operation, organization, account, amount, open, policy)
values (:operation, :organization, :account, :amount, :amount, :policy);

-- name: open_debts
select * from debt where organization = :organization and open > 0 order by began_at, operation;

-- name: debts
select * from debt
where (:organization::text is null or organization = :organization) and (not :only_open::boolean or open > 0)
order by began_at desc, operation desc
limit :row_limit;

-- name: find^
select * from debt where operation = :operation;

-- name: pay!
-- In one statement: what paid a debt and what is open of it never differ.
with paid as (
    insert into debt_payment (operation, debt, kind, amount) values (:operation, :debt, :kind, :amount)
    returning debt, amount
)
update debt
set open = open - paid.amount, ended_at = case when open = paid.amount then clock_timestamp() end
from paid
where debt.operation = paid.debt;

-- name: payments_of$
-- How many there ever were: the number of the next one.
select count(*) from debt_payment where debt = :debt;

-- name: payments_in_force
select operation from debt_payment where debt = :debt and reversed_at is null order by at, operation;

-- name: mark_reversed!
update debt_payment set reversed_at = clock_timestamp() where operation = :operation;

-- name: end!
update debt set open = 0, ended_at = clock_timestamp() where operation = :operation and open > 0;

-- name: able_to_pay
select distinct d.organization
from debt as d
join ledger_account as a on a.id = d.account
where d.open > 0 and a.posted - a.held > 0 and d.organization > :after
order by d.organization
limit :row_limit;

-- name: wanted_restriction^
-- The strictest; and where debts want it as much as disputes do, for the debts, which the customer can pay.
select wanted.kind, wanted.because
from (
    select policy as kind, 'debt' as because from debt where organization = :organization and open > 0
    union all
    select clawback.policy, 'dispute'
    from stripe_invoice as invoice
    join clawback on clawback.stripe_invoice = invoice.id and clawback.reversed_at is null
    where invoice.organization = :organization
) as wanted
where wanted.kind <> 'none'
order by wanted.kind = 'freeze' desc, wanted.because
limit 1;
