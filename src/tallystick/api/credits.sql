-- name: clock$
select clock_timestamp();

-- name: charged_since$
-- A charge that was in the books before then was only repeated. Each counts once, however often it was answered.
select coalesce(sum(actual), 0) from hold where id = any(:ids::uuid[]) and created_at >= :since;
