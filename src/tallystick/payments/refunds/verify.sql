-- name: no_more_than_paid
-- What we give back. A bank can take more for a dispute than refunds have left, which is an excess.
with paid (id, amount_minor) as (
    -- Of money that was set aside, what came.
    select id, case when operation is null then coalesce(received_minor, amount_minor) else amount_minor end
    from payment_order
    union all
    select id, amount_paid_minor - amount_elsewhere_minor from stripe_invoice
)
select format('%s was paid with %s, and %s went back', paid.id, paid.amount_minor, gone.minor) as problem
from paid
join (
    select coalesce(payment_order, stripe_invoice) as origin, sum(amount_minor) as minor
    from refund
    where state not in ('failed', 'canceled', 'refused')
    group by coalesce(payment_order, stripe_invoice)
) as gone on gone.origin = paid.id
where gone.minor > paid.amount_minor
union all
select format('of order %s with %s came back %s', o.id, o.amount_minor, sum(c.amount_minor))
from clawback c
join payment_order o on o.id = c.payment_order
where c.reversed_at is null
group by o.id
having sum(c.amount_minor) > o.amount_minor or (sum(c.amount_minor) < o.amount_minor and sum(c.excess) > 0)
limit :most::bigint;

-- name: once_each
with cause as (
    select id, payment_order, stripe_invoice, amount_minor from refund
    where state not in ('failed', 'canceled', 'refused')
    union all
    select id, payment_order, stripe_invoice, amount_minor from dispute
    where withdrawals > reinstatements and status <> 'won'
),
wanted as (
    select cause.id, coalesce(payment_order, stripe_invoice) as origin, cause.amount_minor
    from cause
    left join payment_order as o on o.id = cause.payment_order
    where cause.payment_order is null or o.operation is not null
),
found as (
    select
        coalesce(refund, dispute) as id, coalesce(payment_order, stripe_invoice) as origin,
        amount_minor + excess / 10000000 as amount_minor
    from clawback where reversed_at is null
)
select format('%s takes %s of %s, and was booked as %s', coalesce(wanted.id, found.id),
    coalesce(wanted.amount_minor::text, 'nothing'), coalesce(wanted.origin, found.origin),
    coalesce(found.amount_minor::text, 'nothing')) as problem
from wanted full join found using (id)
where wanted.amount_minor is distinct from found.amount_minor or wanted.origin is distinct from found.origin
limit :most::bigint;

-- name: clawback_posting
with posted as (
    select
        c.operation, c.taken, c.money, c.bonus, c.excess, c.reversed_at,
        coalesce(sum(t.amount) filter (where t.debit = o.account), 0) as from_customer,
        coalesce(sum(t.amount) filter (where debit.kind = 'receivable'), 0) as from_receivable,
        coalesce(sum(t.amount) filter (
            where credit.kind = case o.kind when 'manual' then 'bank' else 'stripe_clearing' end::account_kind
        ), 0) as to_money,
        coalesce(sum(t.amount) filter (where credit.kind = 'promotional_expense'), 0) as to_bonus,
        coalesce(sum(t.amount), 0) as total
    from clawback as c
    join payment_order as o on o.id = c.payment_order
    left join transfer as t on t.operation = c.operation and t.kind in ('refund', 'dispute')
    left join ledger_account as debit on debit.id = t.debit
    left join ledger_account as credit on credit.id = t.credit
    group by c.operation, o.id
)
select format('clawback %s took %s of %s, %s and %s, and posted %s and %s owed to %s and %s', operation, taken, money,
    bonus, excess, from_customer, from_receivable, to_money, to_bonus) as problem
from posted
where from_customer <> taken or from_receivable <> money + bonus - taken + excess or to_money <> money + excess
    or to_bonus <> bonus or total <> money + bonus + excess
union all
select format('clawback %s takes %s of what plans brought in, and posted %s', c.operation, c.money,
    coalesce(sum(t.amount), 0))
from clawback as c
left join transfer as t on t.operation = c.operation and t.kind in ('refund', 'dispute')
    and t.debit = any (select id from ledger_account where kind = 'plan_revenue')
    and t.credit = any (select id from ledger_account where kind = 'stripe_clearing')
where c.stripe_invoice is not null
group by c.operation
having c.money <> coalesce(sum(t.amount), 0) or c.money <> c.amount_minor * 10000000 or c.bonus <> 0
    or c.taken <> c.money
union all
select format('clawback %s %s', c.operation, case when c.reversed_at is null then 'was reversed in the books alone'
    else 'is over, and was never reversed in the books' end)
from clawback as c
left join operation as reversal on reversal.reverses = c.operation
where (c.reversed_at is null) <> (reversal.id is null)
limit :most::bigint;

-- name: posting_clawback
select format('%s %s has no clawback', t.kind, t.operation) as problem
from transfer as t
where t.kind in ('refund', 'dispute') and not exists (
    select from clawback where clawback.operation = t.operation
)
union all
select format('collection %s has no debt', t.operation)
from transfer as t
where t.kind = 'collection' and not exists (
    select from debt_payment as p where p.operation = t.operation and p.kind = 'collection'
)
limit :most::bigint;

-- name: shares
-- All of the credits with all of the payment; of a part never more than its share, but for the part that ended it.
select format('of order %s went %s of %s, and of its %s credits %s', o.id, sum(c.amount_minor), o.amount_minor,
    o.credits, sum(c.money + c.bonus)) as problem
from clawback as c
join payment_order as o on o.id = c.payment_order
where c.reversed_at is null
group by o.id
having case when sum(c.amount_minor) = o.amount_minor
    then sum(c.money) <> coalesce(o.paid_credits, least(o.credits, o.amount_minor * 10000000))
        or sum(c.money + c.bonus) <> o.credits
    else sum(c.money + c.bonus) > o.credits
end
limit :most::bigint;

-- name: order_numbers
select format('order %s has %s refunded and %s disputed, its clawbacks come to %s and %s', o.id, o.refunded_minor,
    o.disputed_minor, coalesce(sum(c.amount_minor) filter (where c.refund is not null), 0),
    coalesce(sum(c.amount_minor) filter (where c.dispute is not null), 0)) as problem
from payment_order as o
left join clawback as c on c.payment_order = o.id and c.reversed_at is null
where o.operation is not null
group by o.id
having o.refunded_minor <> coalesce(sum(c.amount_minor) filter (where c.refund is not null), 0)
    or o.disputed_minor <> coalesce(sum(c.amount_minor) filter (where c.dispute is not null), 0)
limit :most::bigint;

-- name: debts
select format('clawback %s left %s owed, its debt is of %s', c.operation, c.money + c.bonus - c.taken + c.excess,
    coalesce(d.amount::text, 'nothing')) as problem
from clawback as c
left join debt as d on d.operation = c.operation
where coalesce(d.amount, 0) <> c.money + c.bonus - c.taken + c.excess
union all
select format('debt %s of %s has %s open after %s was paid', d.operation, d.amount, d.open, coalesce(sum(p.amount), 0))
from debt as d
join clawback as c on c.operation = d.operation
left join debt_payment as p on p.debt = d.operation and p.reversed_at is null
group by d.operation, c.operation
having case when c.reversed_at is null then d.open <> d.amount - coalesce(sum(p.amount), 0)
    else d.open <> 0 or coalesce(sum(p.amount), 0) <> 0
end
union all
select format('%s %s of debt %s has %s in the books', p.kind, p.operation, p.debt, coalesce(sum(t.amount), 0))
from debt_payment as p
join debt as d on d.operation = p.debt
left join transfer as t on t.operation = p.operation and t.kind in ('collection', 'adjustment')
    and t.debit = any (
        select d.account where p.kind = 'collection'
        union all
        select id from ledger_account where kind = 'bad_debt' and p.kind = 'write_off'
    )
    and t.credit = any (select id from ledger_account where kind = 'receivable')
group by p.operation
having p.amount <> coalesce(sum(t.amount), 0)
limit :most::bigint;

-- name: receivable
-- What clawbacks, what paid them, and the reversals of both did to what is receivable.
with ours as (
    select operation from clawback union all select operation from debt_payment
),
moved as (
    select coalesce(sum(case when debit.kind = 'receivable' then t.amount else -t.amount end), 0) as total
    from (
        select operation from ours
        union all
        select id from operation where reverses in (select operation from ours)
    ) as done
    join transfer as t on t.operation = done.operation and t.kind >= 'shortfall'
    join ledger_account as debit on debit.id = t.debit
    join ledger_account as credit on credit.id = t.credit
    where (debit.kind = 'receivable') <> (credit.kind = 'receivable')
),
owed as (
    select coalesce(sum(open), 0) as total from debt
)
select format('debts of %s are open, and %s is receivable of them', owed.total, moved.total) as problem
from owed, moved where owed.total <> moved.total limit :most::bigint;

-- name: restrictions
with wanted as (
    select organization, policy as kind, 'debt' as because from debt where open > 0
    union all
    select i.organization, c.policy, 'dispute'
    from clawback as c
    join stripe_invoice as i on i.id = c.stripe_invoice
    where c.dispute is not null and c.reversed_at is null
),
strictest as (
    select distinct on (organization) organization, kind, because
    from wanted where kind <> 'none' order by organization, kind, because
)
select format('organization %s is %s for a %s, and is to be %s for a %s', coalesce(r.organization, w.organization),
    coalesce(r.kind, 'free'), coalesce(r.because, 'nothing'), coalesce(w.kind, 'free'), coalesce(w.because, 'nothing')
) as problem
from restriction as r
full join strictest as w using (organization)
where (r.kind, r.because) is distinct from (w.kind, w.because)
limit :most::bigint;
