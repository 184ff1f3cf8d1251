-- name: add_lot!
-- Only for credits that the operation did bring to that account and that no other lot stands for.
insert into lot (id, account, operation, kind, amount, remaining, priority, expires_at, source)
select
    :id::uuid, :account::bigint, :operation::uuid, :kind, :amount::bigint, :amount::bigint, :priority::integer,
    :expires_at::timestamptz, :source
where :amount::bigint <= (
    select coalesce(sum(amount), 0) from transfer
    where operation = :operation::uuid and credit = :account::bigint
        and kind >= 'shortfall'
) - (
    select coalesce(sum(amount), 0) from lot where operation = :operation::uuid and account = :account::bigint
);

-- name: lots_left
select id, operation, kind, amount, lot.remaining, priority, lot.expires_at, source, created_at
from lot
join lots_in_burn_order(:account::bigint) as burning using (id)
order by burning.before;

-- name: accounts_with_due_lots
select distinct account from lot
where remaining > 0 and expires_at is not null and expires_at <= least(:now::timestamptz, clock_timestamp());

-- name: expire_lots$
select expire_lots(:account::bigint, :now::timestamptz);

-- name: refresh_lots$
-- The account's lane stays locked until the caller's transaction ends.
select lots_refresh(:account::bigint);

-- name: left_of_lot^
select lot.id, least(lot.remaining, greatest(a.posted - a.held, 0)) as free
from lot
join ledger_account as a on a.id = lot.account
where lot.operation = :operation::uuid and lot.account = :account::bigint and lot.kind <> 'restored';

-- name: free_credits$
select greatest(posted - held, 0) from ledger_account where id = :account::bigint;

-- name: change_lot!
update lot set remaining = remaining + :change::bigint where id = :id::uuid;
