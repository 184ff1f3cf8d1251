-- name: count_lanes$
select lanes from ledger_layout;

-- name: open_account<!
insert into ledger_account (kind, floor, overdraft) values ('customer', :floor, :overdraft) returning id;

-- name: read_floor^
select floor, overdraft from ledger_account where id = :account and id >= 1048576;

-- name: lock_lane$
select pg_advisory_xact_lock(31249, cast(:account::bigint % lanes as integer)) from ledger_layout;

-- name: set_floor^
-- Who owes more than the new floor allows keeps that depth, as overdraft, which no reserve can use.
with wanted as (
    select least(:floor::bigint, posted - held) as floor from ledger_account where id = :account
)
update ledger_account as a
set floor = wanted.floor, overdraft = :overdraft::bigint + :floor::bigint - wanted.floor
from wanted
where a.id = :account
returning :floor::bigint - a.floor as debt;

-- name: lock_all_lanes$
select count(pg_advisory_xact_lock(31249, lane)) from (
    select lane from ledger_layout, generate_series(0, lanes - 1) as lane order by lane
) as ascending;
