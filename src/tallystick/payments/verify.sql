-- name: order_posting
select format('order %s of %s nanocredits has %s purchase transfers that fit it, of %s in its operation',
              o.id, o.credits, count(t.seq) filter (where t.amount = o.credits and t.credit = o.account
                                                    and t.kind = 'purchase' and a.kind = 'stripe_clearing'),
              count(t.seq)) as problem
from payment_order o
left join transfer t on t.operation = o.operation
left join ledger_account a on a.id = t.debit
where o.state = 'credited'
group by o.id
having count(t.seq) <> 1
    or bool_or(t.amount <> o.credits or t.credit <> o.account or t.kind <> 'purchase' or a.kind <> 'stripe_clearing');

-- name: posting_order
select format('purchase %s of %s nanocredits into account %s has no credited order', t.operation, t.amount, t.credit)
    as problem
from transfer t
where t.kind = 'purchase'
    and not exists (select from payment_order o where o.operation = t.operation and o.state = 'credited');

-- name: clearing
-- What Stripe holds for us, as the books have it, against the orders it was paid for.
select format('stripe_clearing stands at %s, credited orders at %s', -cleared.total, ordered.total) as problem
from (select coalesce(sum(posted), 0) as total from ledger_account where kind = 'stripe_clearing') cleared,
     (select coalesce(sum(credits), 0) as total from payment_order where state = 'credited') ordered
where -cleared.total <> ordered.total;

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
        where l.source = 'order:' || o.id and o.state = 'credited' and o.operation = l.operation
            and o.account = l.account and o.credits = l.amount and l.kind = 'purchased'
    )
    and not exists (
        select from credit_grant g
        where l.source = 'grant:' || g.operation and g.operation = l.operation
            and g.account = l.account and g.amount = l.amount and g.kind = l.kind
    );

-- name: acted_on
-- The events about payments that were acted on. Read back by the module that reads webhooks: a body may hold what JSON
-- may and PostgreSQL's jsonb may not.
select id, type, body, livemode from stripe_event
where state = 'processed' and type = any(:types::text[])
order by id;

-- name: orders
select id, state, amount_minor, currency, stripe_payment_intent, livemode
from payment_order where id = any(:ids::text[]);

-- name: credited
select id from payment_order where state = 'credited' order by id;
