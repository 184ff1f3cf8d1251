-- name: unexplained
-- Money that moved for a payment of which nobody knows whose it is.
select payment_intent, sum(amount_minor - fee_minor)::bigint as net_minor, min(at) as moved_at
from stripe_movement
where belongs is null and livemode = :livemode
group by payment_intent
order by payment_intent;

-- name: sums
-- What Stripe moved for each order and each invoice, against what the books have between it and Stripe. The books' side
-- is found by the operations that can have done it: the purchase or the income, what was clawed back, what of that came
-- back. The version before booked the gift of a package as if Stripe had it: that much of its orders was never to come.
with touched as (
    select o.id as cause, o.stripe_payment_intent as payment_intent
    from payment_order o
    where o.livemode = :livemode and o.stripe_payment_intent is not null
        and (
            cast(:since as timestamptz) is null or o.credited_at >= :since
            or exists (
                select from stripe_movement m where m.payment_intent = o.stripe_payment_intent and m.at >= :since
            )
            -- Of an old order, too: what was taken back of it, and Stripe does not know of yet.
            or exists (
                select from clawback c where c.payment_order = o.id and greatest(c.at, c.reversed_at) >= :since
            )
            or exists (select from refund r where r.payment_order = o.id and r.state = 'asked')
        )
    union all
    select p.invoice, p.payment_intent
    from stripe_invoice_payment p
    join stripe_invoice i on i.id = p.invoice
    where i.livemode = :livemode
        and (
            cast(:since as timestamptz) is null or i.paid_at >= :since
            or exists (select from stripe_movement m where m.payment_intent = p.payment_intent and m.at >= :since)
        )
),
at_stripe as (
    select touched.cause, sum(m.amount_minor) as amount_minor
    from touched
    join stripe_movement m on m.payment_intent = touched.payment_intent
    group by touched.cause
),
operations as (
    select o.id as cause, o.operation from payment_order o where o.operation is not null
    union all
    select i.id, i.operation from stripe_invoice i where i.operation is not null
    union all
    select coalesce(c.payment_order, c.stripe_invoice), c.operation from clawback c
    union all
    select coalesce(c.payment_order, c.stripe_invoice), back.id
    from clawback c join operation back on back.reverses = c.operation
),
booked as (
    select
        causes.cause,
        (
            sum(case when a.id = t.debit then t.amount else -t.amount end)
            - coalesce(min(greatest(o.credits - o.amount_minor * 10000000, 0)) filter (where o.paid_credits is null), 0)
        ) / 10000000 as amount_minor
    from (select distinct cause from touched) as causes
    join operations on operations.cause = causes.cause
    join transfer t on t.operation = operations.operation and t.kind >= 'shortfall'
    join ledger_account a on a.kind = 'stripe_clearing' and a.id in (t.debit, t.credit)
    left join payment_order o on o.id = causes.cause
    group by causes.cause
)
select
    causes.cause as subject,
    coalesce(at_stripe.amount_minor, 0)::bigint as at_stripe_minor,
    coalesce(booked.amount_minor, 0)::bigint as booked_minor,
    array(select touched.payment_intent from touched where touched.cause = causes.cause) as payment_intents,
    (select min(m.at) from touched join stripe_movement m using (payment_intent) where touched.cause = causes.cause)
        as moved_at,
    -- Booked by us, and not known to be at Stripe.
    coalesce(asked.amount_minor, 0)::bigint as asked_minor,
    asked.since as asked_at,
    (
        select case when o.state = 'paid' then 'it is paid and not credited: ' || coalesce(o.reason, 'nobody says why') end
        from payment_order o where o.id = causes.cause
    ) as reason
from (select distinct cause from touched) as causes
left join at_stripe using (cause)
left join booked using (cause)
left join (
    select payment_order as cause, sum(amount_minor) as amount_minor, min(created_at) as since
    from refund where state = 'asked' group by payment_order
) as asked using (cause)
where coalesce(at_stripe.amount_minor, 0) <> coalesce(booked.amount_minor, 0)
order by causes.cause;

-- name: clearing^
-- All that Stripe moved, and all that the books have with Stripe.
select
    coalesce((select sum(amount_minor - fee_minor) from stripe_movement where livemode = :livemode), 0)::bigint
        as moved_minor,
    coalesce((select -sum(posted) from ledger_account where kind = 'stripe_clearing'), 0)::bigint - coalesce((
        select sum(credits - amount_minor * 10000000) from payment_order
        where operation is not null and paid_credits is null and credits > amount_minor * 10000000
    ), 0)::bigint as booked;

-- name: set_aside
-- What only a person can decide; an event that failed twice or less is simply late.
select 'event ' || id as subject, coalesce(reason, type) as cause
from stripe_event
where livemode = :livemode and state = 'quarantined' and processed_at >= coalesce(:since::timestamptz, '-infinity')
union all
select 'event ' || id, format('%s failed %s times and is tried again at %s', type, attempts, retry_at)
from stripe_event
where livemode = :livemode and state = 'received' and attempts > 2
union all
select 'subscription ' || id, problem from stripe_subscription where livemode = :livemode and problem is not null
union all
-- Its sums would be compared with the books as if they were of the same money.
select
    'currency ' || m.currency,
    format('Stripe moved %s payments of ours in it, and their orders and invoices are in another: have Stripe settle in'
           ' the currency that is sold in', count(distinct m.payment_intent))
from stripe_movement m
left join payment_order o on o.stripe_payment_intent = m.payment_intent
left join stripe_invoice_payment p on p.payment_intent = m.payment_intent
left join stripe_invoice i on i.id = p.invoice
where m.livemode = :livemode and m.belongs = 'ours' and coalesce(o.currency, i.currency) <> m.currency
group by m.currency
union all
select 'refund ' || refund.id, 'Stripe has not answered since ' || refund.created_at
from refund join payment_order o on o.id = refund.payment_order
where o.livemode = :livemode and refund.state = 'asked'
    and refund.created_at < clock_timestamp() - :answer_takes::interval
order by subject;

-- name: known
-- Of what Stripe lists: what stands here as it stands there. A payment that is for no order of ours may be an invoice's,
-- which says so itself.
select listed.id
from unnest(:what::text[], :id::text[], :status::text[], :order_id::text[], :payment_intent::text[])
    as listed (what, id, status, order_id, payment_intent)
where exists (select from foreign_payment f where f.payment_intent = listed.payment_intent) or case listed.what
    when 'payment' then
        listed.status <> 'succeeded' or listed.order_id is null
        or exists (
            select from payment_order o
            where o.stripe_payment_intent = listed.id and o.state in ('paid', 'credited', 'refunded', 'disputed')
        )
    when 'refund' then exists (
        select from refund r where r.stripe_refund = listed.id and r.state = listed.status
    )
    when 'dispute' then exists (select from dispute d where d.id = listed.id and d.status = listed.status)
    when 'subscription' then exists (
        select from stripe_subscription s where s.id = listed.id and s.status = listed.status
    )
    when 'invoice' then exists (
        select from stripe_invoice i where i.id = listed.id and i.status = listed.status
            and (i.operation is not null or i.amount_paid_minor = 0)
    )
end;

-- name: customers
select id from stripe_customer where livemode = :livemode and id = any(:ids::text[]);

-- name: store$
insert into reconciliation (livemode, since, began_at, events_fetched, movements, mended, differences, waiting)
values (:livemode, :since, :began_at, :events_fetched, :movements, :mended, :differences, :waiting)
returning id;

-- name: last_clean$
-- The newest run that found nothing left to mend: what was before it has been looked at.
select max(began_at) from reconciliation where livemode = :livemode and differences = '[]';

-- name: ran_lately$
select exists (
    select from reconciliation where livemode = :livemode and began_at > clock_timestamp() - interval '23 hours'
);
