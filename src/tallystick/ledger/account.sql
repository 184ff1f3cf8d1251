-- name: count_lanes$
select lanes from ledger_layout;

-- name: open_account<!
insert into ledger_account (kind, floor, overdraft) values ('customer', :floor, :overdraft) returning id;

-- name: lock_all_lanes$
select count(pg_advisory_xact_lock(31249, lane)) from (
    select lane from ledger_layout, generate_series(0, lanes - 1) as lane order by lane
) as ascending;
