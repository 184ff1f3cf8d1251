-- name: balance^
-- Says too whether a lot is due: then its expiry has to be posted before the balance is true.
select
    posted, held, posted - held - floor - overdraft as available,
    exists (
        select from lot
        where account = a.id and remaining > 0 and expires_at <= clock_timestamp()
    ) as due
from ledger_account as a
where id = :account and id >= 1048576;

-- name: expire_lots$
select expire_lots(:account::bigint, null);

-- name: history
-- What comes in is always of a rare kind, and those have an index from that side too. What a purchase brings beyond its
-- money is our gift: to who has it, it is a grant.
select seq, at, kind, amount, operation
from (
    (
        select seq, at, kind::text, -amount as amount, operation from transfer
        where debit = :account::bigint
            and (:before::bigint is null or seq < :before::bigint)
            and (:kinds::text[] is null or kind::text = any(:kinds::text[]))
        order by seq desc limit :limit::bigint
    )
    union all
    (
        select seq, at, kind, amount, operation
        from (
            select
                t.seq, t.at, t.amount, t.operation,
                case when t.kind = 'purchase' and payer.kind = 'promotional_expense' then 'grant' else t.kind::text end
                    as kind
            from transfer as t
            join ledger_account as payer on payer.id = t.debit
            where t.credit = :account::bigint and t.kind > 'shortfall'
                and (:before::bigint is null or t.seq < :before::bigint)
        ) as income
        where :kinds::text[] is null or kind = any(:kinds::text[])
        order by seq desc limit :limit::bigint
    )
) as entry
order by seq desc limit :limit::bigint;

-- name: trial_balance
-- Each account fits a BIGINT, the sum of many need not.
select unit, kind, count(*), sum(posted), sum(held)
from ledger_account
group by unit, kind
order by unit, min(id);
