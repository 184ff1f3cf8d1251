-- name: find^
select * from dispute where id = :id;

-- name: put!
-- What it is about never changes.
insert into dispute (
    id, payment_order, stripe_invoice, amount_minor, status, reason, withdrawals, reinstatements, respond_by
) values (
    :id, :order, :invoice, :amount_minor, :status, :reason, :withdrawals, :reinstatements, :respond_by
)
on conflict (id) do update set
    amount_minor = excluded.amount_minor, status = excluded.status, reason = excluded.reason,
    withdrawals = excluded.withdrawals, reinstatements = excluded.reinstatements, respond_by = excluded.respond_by;

-- name: of_origin
select * from dispute where payment_order = :order or stripe_invoice = :invoice order by created_at, id;

-- name: list_disputes
-- Of orders and of invoices, which name their organization each.
select dispute.*
from dispute
left join payment_order as o on o.id = dispute.payment_order
left join stripe_invoice as i on i.id = dispute.stripe_invoice
where (:organization::text is null or coalesce(o.organization, i.organization) = :organization)
    and (:order::text is null or o.id = :order)
order by dispute.created_at desc, dispute.id desc
limit :row_limit;

-- name: organization_of$
select coalesce(o.organization, i.organization)
from dispute
left join payment_order as o on o.id = dispute.payment_order
left join stripe_invoice as i on i.id = dispute.stripe_invoice
where dispute.id = :id;
