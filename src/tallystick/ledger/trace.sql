-- name: transfers_of
-- The transfers of one operation. The register (hold or operation) says whose and when, so that the one index on
-- (debit, seq) finds them; platform accounts are the other debit side a transfer can have.
with known as (
    select account, created_at as at from hold where id = :operation
    union all
    select null, at from operation where id = :operation
)
select t.seq, t.at, t.kind, debit.kind as debit, credit.kind as credit, t.amount
from known
join transfer as t
    on t.operation = :operation
    and t.at >= known.at - interval '1 minute'
    and (t.debit = known.account or t.debit < 1048576 or known.account is null)
join ledger_account as debit on debit.id = t.debit
join ledger_account as credit on credit.id = t.credit
order by t.seq
