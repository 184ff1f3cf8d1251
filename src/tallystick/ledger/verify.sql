-- name: sum_is_zero
select format('the accounts of unit %s sum to %s, not to zero', unit, sum(posted)) as problem
from ledger_account group by unit having sum(posted) <> 0 limit :most::bigint;

-- name: posted_is_fold_of_transfers
with pair as (
    select debit, credit, sum(amount) as amount from transfer group by debit, credit
),
fold as (
    select account, sum(change) as posted
    from (select debit, -amount from pair union all select credit, amount from pair) as entry (account, change)
    group by account
)
select format('account %s shows %s posted, its transfers sum to %s', account, coalesce(a.posted::text, 'nothing'),
    coalesce(fold.posted, 0)) as problem
from fold full join (select id as account, posted from ledger_account) as a using (account)
where a.posted is distinct from coalesce(fold.posted, 0) limit :most::bigint;

-- name: held_is_sum_of_open_holds
with holds as (
    select account, sum(amount) as held
    from (
        select account, amount from hold where state = 'open'
        union all
        -- What units held of a meter can still cost belongs to no one hold.
        select account, pending from meter_counter where pending > 0
    ) as aside (account, amount)
    group by account
)
select format('account %s shows %s held, its open holds and pending meters sum to %s', account, coalesce(a.held::text, 'nothing'),
    coalesce(holds.held, 0)) as problem
from holds full join (select id as account, held from ledger_account) as a using (account)
where a.held is distinct from coalesce(holds.held, 0) limit :most::bigint;

-- name: above_floor
select format('account %s has %s posted and %s held, below its floor of %s', id, posted, held, floor) as problem
from ledger_account where posted - held < floor limit :most::bigint;

-- name: floor_is_enforced
select 'table ledger_account has lost its constraint "funds"' as problem
where not exists (
    select from pg_constraint
    where conrelid = 'ledger_account'::regclass and conname = 'funds' and contype = 'c' and convalidated
) limit :most::bigint;

-- name: holds_end
-- A minute for the sweeper to come round, and a day for a process that died to be found.
select format('hold %s of account %s should have ended at %s and is still open', id, account, expires_at) as problem
from hold
where state = 'open' and expires_at < now() - case when dispatcher is null then interval '5 min' else interval '2 d' end
limit :most::bigint;

-- name: posted_once
select format('%s was charged %s times', operation, count(*)) as problem
from transfer where kind in ('usage', 'deduction') group by operation having count(*) > 1 limit :most::bigint;

-- name: registered
select format('transfer %s of kind %s belongs to %s, which no register knows', seq, kind, operation) as problem
from transfer
where kind > 'shortfall'
    and not exists (select from operation where id = operation and operation.kind = transfer.kind::text)
union all
select format('operation %s of kind %s has no transfers', id, kind)
from operation
where not exists (
    select from transfer
    where operation = operation.id and transfer.kind >= 'shortfall'
)
limit :most::bigint;

-- name: chain_is_whole
select format('block %s does not follow from block %s and its transfers %s to %s%s', number, number - 1, after_seq + 1,
    to_seq, ' and audit events ' || audit_after + 1 || ' to ' || audit_to) as problem
from (
    select
        *,
        lag(hash, 1, sha256('tallystick')) over by_number as expected_previous,
        lag(to_seq, 1, 0::bigint) over by_number as expected_after,
        row_number() over by_number as expected_number,
        coalesce(max(audit_to) over (by_number rows between unbounded preceding and 1 preceding), 0) as audit_after
    from ledger_block window by_number as (order by number)
) as block
cross join lateral ledger_lines(after_seq, to_seq) as body (found, last_seq, lines)
cross join lateral audit_lines(audit_after, audit_to) as audit (last_seq, lines)
where number <> expected_number or previous <> expected_previous or after_seq <> expected_after
    or transfers <> found or to_seq <> coalesce(body.last_seq, after_seq) or audit_to is distinct from audit.last_seq
    or hash is distinct from sha256(previous || coalesce(body.lines, '') || coalesce(audit.lines, ''))
limit :most::bigint;

-- name: append_only_is_enforced
select format('table %s can be %s: its trigger is gone or disabled', relname, what) as problem
from pg_class
cross join (values ('append_only', 'changed'), ('append_only_truncate', 'truncated')) as guard (name, what)
where relnamespace = (select relnamespace from pg_class where oid = 'transfer'::regclass)
    and relkind in ('r', 'p')
    and (
        relname in (
            'transfer', 'usage_record', 'usage_event', 'usage_event_register', 'ledger_block', 'operation',
            'catalog_entry', 'subscription_event', 'audit_event'
        )
        or oid in (
            select inhrelid from pg_inherits
            where inhparent in ('transfer'::regclass, 'usage_record'::regclass, 'usage_event'::regclass)
        )
    )
    and not exists (
        select from pg_trigger
        where tgrelid = pg_class.oid and tgname = guard.name and tgenabled in ('O', 'A')
            and tgfoid = 'refuse_change'::regproc
    )
limit :most::bigint;

-- name: conserved
with by_kind as (
    select kind, sum(case when credit >= 1048576 then amount else -amount end) as amount
    from transfer where (debit >= 1048576) <> (credit >= 1048576) group by kind
),
total as (
    select
        coalesce((select sum(amount) from by_kind), 0) as moved,
        coalesce((select sum(posted) from ledger_account where kind = 'customer'), 0) as posted
)
select format('customers have %s, but what came in less what went out is %s (%s)', posted, moved, (
    select string_agg(kind || ' ' || amount, ', ' order by kind) from by_kind
)) as problem
from total where moved <> posted limit :most::bigint;

-- name: lots_cover_balances
-- Spending burns lots when someone looks, so they may have more than the account, never less.
select format('account %s has %s posted but only %s left in its lots', id, posted, coalesce(lots.remaining, 0)) as problem
from ledger_account
left join (select account, sum(remaining) as remaining from lot group by account) as lots on lots.account = id
where kind = 'customer' and posted > coalesce(lots.remaining, 0) limit :most::bigint;

-- name: reversals_mirror
with mirrored as (
    select reversal.id, reversal.reverses, t.debit, t.credit, t.amount
    from operation as reversal
    join transfer as t on t.operation = reversal.id and t.kind = 'reversal'
),
original as (
    select reversal.id, reversal.reverses, t.credit as debit, t.debit as credit, t.amount
    from operation as reversal
    join transfer as t on t.operation = reversal.reverses and t.kind >= 'shortfall'
    union all
    select reversal.id, reversal.reverses, t.credit, t.debit, t.amount
    from operation as reversal
    join hold on hold.id = reversal.reverses
    join transfer as t on t.debit = hold.account and t.operation = hold.id and t.kind in ('usage', 'deduction')
)
select distinct format('reversal %s does not mirror %s', id, reverses) as problem
from ((table mirrored except all table original) union all (table original except all table mirrored)) as difference
limit :most::bigint;

-- name: calls_name_their_prices
-- A charge for metered work has no provider: nothing was paid for it, and its claims alone say what it costs. All other
-- work is a call to a provider, and without the versions it was priced by nobody could ever recompute it.
select case
    when endpoint <> 'charge' then format('usage record %s of %s at %s does not name its cost and its price', id, endpoint,
        coalesce(nullif(provider, ''), 'no provider'))
    else format('usage record %s of metered work costs %s and charges %s where its claims say %s', id, cost, charge,
        overage)
end as problem
from usage_record
where endpoint <> 'charge' and (cost_id is null or price_id is null)
    or endpoint = 'charge' and (
        (cost, charge) <> (0, overage) or provider <> '' or cost_id is not null or price_id is not null
    )
limit :most::bigint;

-- name: newest_block^
select number, encode(hash, 'hex') as hash from ledger_block order by number desc limit 1;

-- name: has_block$
select exists (select from ledger_block where hash = decode(:hash, 'hex'));
