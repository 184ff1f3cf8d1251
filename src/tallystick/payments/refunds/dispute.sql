-- name: find^
select * from dispute where id = :id;

-- name: put!
insert into dispute (id, payment_order, amount_minor, status, reason, withdrawals, reinstatements, respond_by)
values (:id, :order, :amount_minor, :status, :reason, :withdrawals, :reinstatements, :respond_by)
on conflict (id) do update set
    amount_minor = excluded.amount_minor, status = excluded.status, reason = excluded.reason,
    withdrawals = excluded.withdrawals, reinstatements = excluded.reinstatements, respond_by = excluded.respond_by;

-- name: of_order
select * from dispute where payment_order = :order order by created_at, id;

-- name: list_disputes
select dispute.*
from dispute
join payment_order as o on o.id = dispute.payment_order
where (:organization::text is null or o.organization = :organization) and (:order::text is null or o.id = :order)
order by dispute.created_at desc, dispute.id desc
limit :row_limit;
