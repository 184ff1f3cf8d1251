-- name: add^
insert into refund (
    id, payment_order, stripe_invoice, amount_minor, state, stripe_refund, asked_by, reason, failure, proof
) values (
    :id, :payment_order, :stripe_invoice, :amount_minor, :state, :stripe_refund, :asked_by, :reason, :failure, :proof
)
returning *;

-- name: find_seen^
-- Ours is the one that Stripe's names, if it is of this order, of this amount and still waits for an answer: whoever
-- writes our id into another refund at Stripe has not made that one ours.
select * from refund
where stripe_refund = :stripe_refund
    or (
        id = :ours and payment_order = :order and amount_minor = :amount::bigint and state = 'asked'
        and stripe_refund is null
    )
order by stripe_refund is null
limit 1;

-- name: move!
update refund
set state = :state, stripe_refund = coalesce(:stripe_refund, stripe_refund), failure = coalesce(:failure, failure)
where id = :id;

-- name: of_origin
select * from refund where payment_order = :order or stripe_invoice = :invoice order by created_at, id;

-- name: find^
select * from refund where id = :id or stripe_refund = :id;

-- name: list_refunds
-- Of orders and of invoices, which name their organization each.
select refund.*
from refund
left join payment_order as o on o.id = refund.payment_order
left join stripe_invoice as i on i.id = refund.stripe_invoice
where (:organization::text is null or coalesce(o.organization, i.organization) = :organization)
    and (:order::text is null or o.id = :order)
order by refund.created_at desc, refund.id desc
limit :row_limit;
