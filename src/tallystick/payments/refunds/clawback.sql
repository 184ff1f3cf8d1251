-- name: in_force
select operation, refund, dispute, amount_minor, money, bonus, taken
from clawback
where payment_order = :order and reversed_at is null
order by at, operation;

-- name: add!
insert into clawback (operation, payment_order, refund, dispute, amount_minor, money, bonus, taken)
values (:operation, :order, :refund, :dispute, :amount_minor, :money, :bonus, :taken);

-- name: mark_reversed!
update clawback set reversed_at = clock_timestamp() where operation = :operation;

-- name: find^
select operation, reversed_at from clawback where operation = :operation;
