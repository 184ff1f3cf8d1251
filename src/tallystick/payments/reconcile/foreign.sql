-- name: keep!
insert into foreign_payment (payment_intent, said_by, reason) values (:payment_intent, :said_by, :reason)
on conflict (payment_intent) do nothing;

-- name: paid_by$
select id from payment_order where stripe_payment_intent = :payment_intent
union all
select invoice from stripe_invoice_payment where payment_intent = :payment_intent
limit 1;
