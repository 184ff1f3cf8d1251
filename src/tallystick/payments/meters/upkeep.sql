-- name: clock$
select clock_timestamp();
