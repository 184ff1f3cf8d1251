-- name: transfers_reversed
-- A hold's own transfers are found from its account: the frequent kinds have no index on their operation.
select credit as debit, debit as credit, amount
from (
    select seq, debit, credit, amount from transfer
    where operation = :operation::uuid and kind >= 'shortfall'
    union all
    select seq, debit, credit, transfer.amount
    from hold
    join transfer on debit = hold.account and at >= hold.created_at and operation = hold.id
        and kind in ('usage', 'deduction')
    where hold.id = :operation::uuid
) as original
order by seq;

-- name: is_reversal$
select exists (select from operation where id = :operation::uuid and kind = 'reversal');

-- name: take_from_lots!
-- What these lots no longer have was spent: it comes out of the others, in burn order, when they are refreshed.
update lot
set remaining = lot.remaining - least(lot.remaining, greatest(:amount::bigint - of_operation.before, 0))
from (
    select id, (sum(remaining) over (order by created_at, id) - remaining)::bigint as before
    from lot
    where operation = :operation::uuid and account = :account::bigint
) as of_operation
where lot.id = of_operation.id;

-- name: put_back!
update lot set remaining = remaining + :amount::bigint where id = :lot::uuid and account = :account::bigint;
