-- name: in_force
select operation, cause, refund, dispute, amount_minor, money, bonus, taken, excess
from clawback
where payment_order = :order and reversed_at is null
order by at, operation;

-- name: add!
insert into clawback
    (operation, cause, payment_order, refund, dispute, amount_minor, money, bonus, taken, excess)
values
    (:operation, :cause, :order, :refund, :dispute, :amount_minor, :money, :bonus, :taken, :excess);

-- name: mark_reversed!
update clawback set reversed_at = clock_timestamp() where operation = :operation;

-- name: attempts^
-- How often it was taken back for this cause, and how often of that it is over.
select count(*) as taken, count(reversed_at) as over from clawback where cause = :cause;

-- name: see_to_events
-- Those about a payment, which stands in them as Stripe writes its ids. Few are set aside, and this is rare.
update stripe_event set state = 'ignored', reason = :reason, processed_at = clock_timestamp()
where state = 'quarantined' and type ~ '^(payment_intent|checkout\.session)\.'
    and position(convert_to('"' || :payment_intent::text || '"', 'UTF8') in body) > 0
returning id;
