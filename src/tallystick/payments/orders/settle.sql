-- name: keep_seen!
insert into payment_seen (payment_intent, order_id, amount_minor, currency, livemode)
values (:payment_intent, :order_id, :amount_minor, :currency, :livemode)
on conflict (payment_intent) do nothing;

-- name: payment_is_known$
select exists (select from payment_order where stripe_payment_intent = :payment_intent);
