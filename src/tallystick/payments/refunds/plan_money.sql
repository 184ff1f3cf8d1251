-- name: organization_of$
select organization from stripe_invoice where id = :id;

-- name: lock^
select i.id, i.organization, o.account, i.operation, i.amount_paid_minor - i.amount_elsewhere_minor as paid_minor
from stripe_invoice as i
join organization as o on o.id = i.organization
where i.id = :id
for update of i;

-- name: clawbacks
select operation, amount_minor, reversed_at from clawback where stripe_invoice = :invoice;

-- name: mark_reversed!
update clawback set reversed_at = clock_timestamp() where operation = :operation;

-- name: add!
insert into clawback (operation, cause, stripe_invoice, refund, dispute, amount_minor, money, bonus, taken, policy)
values (:operation, :operation, :invoice, :refund, :dispute, :amount_minor, :money, 0, :money, :policy);

-- name: release$
-- What it held the customer to; nothing where that was nothing.
update clawback
set policy = 'none'
from (
    select operation, policy from clawback
    where dispute = :dispute and reversed_at is null and policy <> 'none'
    for update
) as before
where clawback.operation = before.operation
returning before.policy;
