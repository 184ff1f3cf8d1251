-- name: keep!
-- A movement never changes: one that is kept is as Stripe lists it.
insert into stripe_movement (id, livemode, category, amount_minor, fee_minor, currency, source, payment_intent, at)
select id, :livemode, category, amount_minor, fee_minor, currency, source, payment_intent, at
from unnest(
    :id::text[], :category::text[], :amount_minor::bigint[], :fee_minor::bigint[], :currency::text[],
    :source::text[], :payment_intent::text[], :at::timestamptz[]
) as seen (id, category, amount_minor, fee_minor, currency, source, payment_intent, at)
on conflict (id) do nothing;

-- name: unbooked
-- Ours is what an order or an invoice of ours was paid by. Of a charge without a payment intent nothing of ours is made.
-- A debit that its bank refused days later has come and gone: nothing was ever paid by it, and its fee comes back, too.
select
    m.id, m.category, m.amount_minor, m.fee_minor,
    exists (select from payment_order o where o.stripe_payment_intent = m.payment_intent)
        or exists (select from stripe_invoice_payment p where p.payment_intent = m.payment_intent)
        or exists (
            -- One that is not ours was booked as such when it came, and is so when it goes.
            select from stripe_movement other where other.payment_intent = m.payment_intent
            having bool_or(other.category = 'charge_failure') and sum(other.amount_minor) = 0
                and bool_and(other.belongs is distinct from 'other')
        ) as ours,
    m.payment_intent is null
        or exists (select from foreign_payment f where f.payment_intent = m.payment_intent) as foreign
from stripe_movement m
where m.belongs is null and m.livemode = :livemode and m.id > :after
order by m.id
limit :most;

-- name: lock_unbooked$
select id from stripe_movement where id = :id and belongs is null for update;

-- name: mark_booked!
update stripe_movement set belongs = :belongs, operation = :operation where id = :id;
