-- name: clock$
select clock_timestamp();

-- name: open_between
select id from hold
where (:after::timestamptz is null or created_at > :after::timestamptz) and created_at <= :until::timestamptz
    and state = 'open';

-- name: still_open
select id, account, amount, created_at, expires_at, dispatcher
from hold
where id = any(:ids::uuid[]) and state = 'open'
order by created_at;

-- name: open_dispatched
select id, account, amount, created_at, expires_at, dispatcher
from hold
where state = 'open' and dispatcher = :dispatcher::uuid
    and (:created_after::timestamptz is null or created_at >= :created_after::timestamptz)
order by created_at;

-- name: expire_holds$
select expire_holds(:lane::integer, :ids::uuid[]);
