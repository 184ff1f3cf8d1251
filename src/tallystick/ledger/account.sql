-- name: count_lanes$
select lanes from ledger_layout;

-- name: open_account<!
insert into ledger_account (kind, floor, overdraft) values ('customer', :floor, :overdraft) returning id;
