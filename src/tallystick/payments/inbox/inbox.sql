-- name: store!
insert into stripe_event (id, type, body, livemode) values (:id, :type, :body, :livemode)
on conflict (id) do nothing;

-- name: due
select id from stripe_event
where state = 'received' and retry_at <= clock_timestamp()
order by retry_at
limit :most;

-- name: find_open^
select type, body from stripe_event where id = :id and state = 'received';

-- name: lock_open^
-- A twin waits here, and then finds nothing left to do.
select type, body from stripe_event where id = :id and state = 'received' for update;

-- name: finish!
update stripe_event
set state = :state, reason = :reason, attempts = attempts + 1, processed_at = clock_timestamp()
where id = :id;

-- name: postpone!
-- Twice as long after each attempt, up to an hour: an event that fails for ever must not crowd out the others.
update stripe_event
set attempts = attempts + 1,
    retry_at = clock_timestamp() + least(interval '1 hour', interval '1 second' * power(2, least(attempts, 12)))
where id = :id and state = 'received';
