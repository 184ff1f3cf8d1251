-- What running processes must hear of: revoked keys, applied catalogs. A NOTIFY only says "look now"; what changed is
-- read from this table, at the latest half a second later, so that a lost notification never leaves a stale key.
create table change (
    seq bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    -- A reader that remembers the oldest transaction still open at its last look misses no row that commits late,
    -- which neither seq nor at could promise: both are assigned before the commit.
    transaction xid8 not null default pg_current_xact_id(),
    kind text not null check (kind in ('api_key', 'session', 'catalog', 'organization')),
    subject text not null
);
create index change_transaction on change (transaction);

-- Called inside the transaction that makes the change: told if that commits, never otherwise.
create function announce(p_kind text, p_subject text) returns void language sql as $$
    insert into change (kind, subject) values (p_kind, p_subject);
    select pg_notify('tallystick_change', '');
$$;
