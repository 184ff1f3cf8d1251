-- name: order_posting
-- Stripe's clearing account gives what the money is worth, or, of a manual order, the bank through manual clearing; the
-- gift on top is our expense. `paid_credits` is null where all was booked as paid, as the version before does.
with posted as (
    select o.id, o.credits, o.kind, o.account, coalesce(o.paid_credits, o.credits) as paid,
        coalesce(sum(t.amount) filter (where t.credit = o.account), 0) as credited,
        coalesce(sum(t.amount) filter (where a.kind = 'stripe_clearing' and t.credit = o.account), 0) as from_stripe,
        coalesce(sum(t.amount) filter (where a.kind = 'manual_clearing' and t.credit = o.account), 0) as from_manual,
        coalesce(sum(t.amount) filter (where a.kind = 'bank' and c.kind = 'manual_clearing'), 0) as from_bank,
        coalesce(sum(t.amount) filter (where a.kind = 'promotional_expense' and t.credit = o.account), 0) as gift,
        coalesce(sum(t.amount), 0) as total,
        count(*) filter (where t.kind <> 'purchase') as others
    from payment_order o
    left join transfer t on t.operation = o.operation
    left join ledger_account a on a.id = t.debit
    left join ledger_account c on c.id = t.credit
    where o.operation is not null
    group by o.id
)
select format('order %s of %s nanocredits, %s of them paid for, has the postings %s from Stripe, %s by hand, %s as a gift'
              || ' and %s others', id, credits, paid, from_stripe, from_manual, gift,
              total - from_stripe - from_manual - from_bank - gift) as problem
from posted
where others > 0 or credited <> credits or gift <> credits - paid
    or from_stripe <> (case when kind = 'manual' then 0 else paid end)
    or from_manual <> (case when kind = 'manual' then paid else 0 end) or from_bank <> from_manual
    or total <> from_stripe + from_manual + from_bank + gift;

-- name: posting_order
select format('purchase %s of %s nanocredits into account %s has no credited order', t.operation, t.amount, t.credit)
    as problem
from transfer t
where t.kind = 'purchase' and not exists (select from payment_order o where o.operation = t.operation);

-- name: worth
-- What came counts at its value: a cent of the currency is a hundredth of a credit.
select format('order %s counts %s nanocredits as paid by %s %s', id, paid_credits, amount_minor, currency) as problem
from payment_order
where operation is not null and paid_credits is not null
    and paid_credits <> least(credits, amount_minor * 10000000);

-- name: clearing
-- What purchases put into Stripe's clearing account, as the books have it, against the orders they were paid for.
select format('purchases put %s into stripe_clearing, its credited orders come to %s', cleared.total, ordered.total)
    as problem
from (
        select coalesce(sum(t.amount), 0) as total
        from transfer t join ledger_account a on a.id = t.debit
        where t.kind = 'purchase' and a.kind = 'stripe_clearing'
    ) cleared,
    (
        select coalesce(sum(coalesce(paid_credits, credits)), 0) as total
        from payment_order where operation is not null and kind <> 'manual'
    ) ordered
where cleared.total <> ordered.total;

-- name: order_state
-- The state follows from what came and what went back of it.
select format('order %s is %s with %s refunded and %s disputed of %s', id, state, refunded_minor, disputed_minor,
              amount_minor) as problem
from payment_order
where (operation is not null or refunded_minor + disputed_minor > 0)
    and state <> case
        when disputed_minor > 0 then 'disputed'
        when refunded_minor
            = case when operation is null then coalesce(received_minor, amount_minor) else amount_minor end then 'refunded'
        when operation is null then 'paid'
        else 'credited'
    end;

-- name: coupons
select format('coupon %s counts %s redemptions and has %s', c.code, c.taken, count(r.id)) as problem
from coupon_count c
left join coupon_redemption r on r.code = c.code and r.given_back_at is null
group by c.code
having c.taken <> count(r.id)
union all
select format('coupon %s was redeemed %s times where %s may', code, count(*), max(most))
from coupon_redemption
where given_back_at is null
group by code
having count(*) > max(most) and count(most) = count(*)
union all
select format('coupon %s was redeemed %s times by %s, which may %s times', code, count(*), organization, max(each))
from coupon_redemption
where given_back_at is null
group by code, organization
having count(*) > max(each) and count(each) = count(*)
union all
select format('order %s has the coupon %s and no redemption of it', o.id, o.coupon)
from payment_order o
where o.coupon is not null and o.operation is not null and not exists (
    select from coupon_redemption r where r.order_id = o.id and r.code = o.coupon and r.given_back_at is null
)
union all
select format('redemption %s of coupon %s gave credits that are not in the books', r.id, r.code)
from coupon_redemption r
where r.operation is not null and not exists (
    select from credit_grant g where g.operation = r.operation and g.source = 'coupon:' || r.code
);

-- name: top_ups
-- A month's top-ups against the highest ceiling that was set while they were made.
select format('top-ups of %s come to %s in %s, above the ceiling of %s', o.organization, sum(o.amount_minor),
              to_char(month.starts, 'YYYY-MM'), max(o.ceiling_minor)) as problem
from payment_order o,
    lateral (select date_trunc('month', o.created_at at time zone 'UTC') as starts) as month
where o.kind = 'top_up' and o.operation is not null
group by o.organization, month.starts
having sum(o.amount_minor) > max(o.ceiling_minor);

-- name: grants
select format('grant %s of %s nanocredits has no transfer that fits it', g.operation, g.amount) as problem
from credit_grant g
where not exists (
    select from transfer t
    where t.operation = g.operation and t.kind = 'grant' and t.amount = g.amount and t.credit = g.account
)
union all
select format('transfer of grant %s names no source', t.operation)
from transfer t
where t.kind = 'grant' and not exists (select from credit_grant g where g.operation = t.operation);

-- name: lots
select format('lot %s of %s nanocredits has no source that fits it: %s', l.id, l.amount, l.source) as problem
from lot l
where not exists (
        select from payment_order o
        where l.source = 'order:' || o.id and o.operation = l.operation
            and o.account = l.account and o.credits = l.amount and l.kind = 'purchased'
    )
    and not exists (
        select from credit_grant g
        where l.source = 'grant:' || g.operation and g.operation = l.operation
            and g.account = l.account and g.amount = l.amount and g.kind = l.kind
    )
    -- What was taken and given back.
    and not (l.kind = 'restored' and exists (select from operation r where r.id = l.operation and r.kind = 'reversal'));

-- name: acted_on
-- The events about payments that were acted on. Read back by the module that reads webhooks: a body may hold what JSON
-- may and PostgreSQL's jsonb may not.
select id, type, body, livemode from stripe_event
where state = 'processed' and type = any(:types::text[])
order by id;

-- name: orders
select id, operation is not null as credited, amount_minor, currency, stripe_payment_intent, livemode
from payment_order where id = any(:ids::text[]);

-- name: credited
-- Every credited order, and whether something else than an event proves it: what Stripe said when it was asked, or a
-- named operator's word.
select o.id, o.kind,
    o.approved_by is not null and o.proof is not null as approved,
    s.payment_intent is not null and s.order_id = o.id and s.amount_minor = o.amount_minor
        and s.currency = o.currency and s.livemode = o.livemode as seen
from payment_order o
left join payment_seen s on s.payment_intent = o.stripe_payment_intent
where o.operation is not null
order by o.id;
