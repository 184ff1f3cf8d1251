-- name: open_holds
-- The open holds of one gateway process from a moment on.
select id, account from hold where id >= :from_id and dispatcher = :dispatcher and state = 'open' order by id;
