-- name: set_aside
select id, type, livemode, state, reason, attempts, received_at from stripe_event
where state = 'quarantined' or (state = 'received' and attempts > 2)
order by received_at desc, id
limit :row_limit; -- An operator's, who looks rarely.

-- name: find^
select id, type, livemode, state, reason, attempts, received_at from stripe_event where id = :id;

-- name: lock^
-- Whoever acts on it at this moment comes first.
select id, type, livemode, state, reason, attempts, received_at from stripe_event where id = :id for update;

-- name: reopen!
-- Due since it came, and so before all that came later.
update stripe_event set state = 'received', reason = null, processed_at = null, retry_at = received_at where id = :id;

-- name: dismiss!
update stripe_event set state = 'ignored', reason = :reason, processed_at = clock_timestamp() where id = :id;
