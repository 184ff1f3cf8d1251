-- name: short_lock_wait!
set local lock_timeout = '1s';

-- name: ensure_partitions$
select ensure_partitions(:months_ahead::integer);
