-- What running processes must hear of: revoked keys, applied catalogs. Heard by NOTIFY at once, and read from the
-- table every half second, so that a lost notification costs half a second and never a stale key.
create table change (
    seq bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    kind text not null check (kind in ('api_key', 'session', 'catalog', 'organization')),
    subject text not null
);

create function announce(p_kind text, p_subject text) returns void language sql as $$
    insert into change (kind, subject) values (p_kind, p_subject);
    select pg_notify('tallystick_change', p_kind || ':' || p_subject);
$$;
