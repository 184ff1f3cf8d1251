-- name: wait_for_writers!
-- A batch that the dead process had under way may still be running in the server: it holds its lane until it is done.
select pg_advisory_xact_lock(31249, lane) from ledger_layout, generate_series(0, lanes - 1) as lane;

-- name: open_holds
-- The open holds of one gateway process, found by the time in their ids.
select id, account from hold where id >= :from_id and dispatcher = :dispatcher and state = 'open' order by id;
