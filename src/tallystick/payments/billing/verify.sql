-- name: invoices
-- By the clearing account as far as Stripe has the money, by the bank what was paid elsewhere.
select format('invoice %s was paid %s, of that %s elsewhere; the books have %s from Stripe and %s from the bank',
              i.id, i.amount_paid_minor, i.amount_elsewhere_minor, booked.stripe, booked.bank) as problem
from stripe_invoice as i
cross join lateral (
    select
        coalesce(sum(t.amount) filter (where a.kind = 'stripe_clearing'), 0) as stripe,
        coalesce(sum(t.amount) filter (where a.kind = 'bank'), 0) as bank,
        coalesce(bool_and(b.kind = 'plan_revenue' and t.kind = 'income'), true) as income
    from transfer as t
    join ledger_account as a on a.id = t.debit
    join ledger_account as b on b.id = t.credit
    where t.operation = i.operation
) as booked
where i.operation is not null and (
    not booked.income or booked.bank <> i.amount_elsewhere_minor * 10000000
    or booked.stripe <> (i.amount_paid_minor - i.amount_elsewhere_minor) * 10000000
)
limit :most;

-- name: not_booked
-- What is paid in a currency in which nothing is sold is in no books, and its event is quarantined.
select format('invoice %s was paid %s and is not in the books', i.id, i.amount_paid_minor) as problem
from stripe_invoice as i
where i.status = 'paid' and i.amount_paid_minor > 0 and i.operation is null
    and exists (select from catalog_entry where kind = 'plan' and document ->> 'currency' = i.currency)
limit :most;

-- name: income
select format('income %s of %s nanocredits has no paid invoice', t.operation, t.amount) as problem
from transfer as t
where t.kind = 'income' and not exists (
    select from stripe_invoice as i where i.operation = t.operation and i.status = 'paid'
)
limit :most;

-- name: subscriptions
select format('subscription %s is %s here, and %s at Stripe is %s', s.id, s.status, s.stripe_subscription,
              coalesce(b.status, 'unknown')) as problem
from subscription as s
left join stripe_subscription as b on b.id = s.stripe_subscription
where s.stripe_subscription is not null and (
    b.id is null
    or (s.ended_at is null) <> (b.status in ('trialing', 'active', 'past_due', 'unpaid', 'paused'))
    or (b.status = 'unpaid' and s.status not in ('past_due', 'paused'))
)
limit :most;
