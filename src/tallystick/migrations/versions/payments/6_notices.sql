-- Webhooks of organizations: where their notices are sent, signed with the endpoint's own secret.
create table webhook_endpoint (
    id text primary key,
    organization text not null references organization,
    url text not null check (url <> ''),
    -- Types and patterns such as 'order.*'.
    types text[] not null check (cardinality(types) > 0),
    description text not null default '',
    enabled boolean not null default true,
    -- Why it was disabled, where that was not the customer.
    disabled_reason text,
    -- Sealed, and bound to this row. The one before signs too, for as long as a rotation gives.
    key_id text not null,
    sealed bytea not null,
    previous_key_id text,
    previous_sealed bytea,
    previous_until timestamptz,
    -- Since when no attempt has succeeded; null after one that has.
    failing_since timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    check ((previous_sealed is null) = (previous_key_id is null) and (previous_sealed is null) = (previous_until is null))
);
create index webhook_endpoint_organization on webhook_endpoint (organization, id);

create table webhook_delivery (
    id text primary key default 'whd_' || replace(gen_random_uuid()::text, '-', ''),
    notice bigint not null references notice on delete cascade,
    endpoint text not null references webhook_endpoint on delete cascade,
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'failed')),
    -- Since it was made, or was replayed.
    attempts integer not null default 0,
    -- When the next attempt is due; while one runs, when it is to be taken for lost.
    due_at timestamptz not null default clock_timestamp(),
    -- Told apart from an attempt that was taken for lost and then ends after all.
    lease integer not null default 0,
    ended_at timestamptz,
    unique (endpoint, notice),
    check ((state = 'waiting') = (ended_at is null))
) with (fillfactor = 70);
create index webhook_delivery_due on webhook_delivery (endpoint, due_at) where state = 'waiting';
create index webhook_delivery_waiting on webhook_delivery (due_at) where state = 'waiting';
create index webhook_delivery_notice on webhook_delivery (notice);

-- Every attempt, with what was answered. Never what was signed with.
create table webhook_attempt (
    delivery text not null references webhook_delivery on delete cascade,
    at timestamptz not null default clock_timestamp(),
    status integer,
    ms integer not null check (ms >= 0),
    -- The first characters of the answer, or why there was none.
    answer text not null default ''
);
create index webhook_attempt_delivery on webhook_attempt (delivery, at);

-- Whether an endpoint of these types wants a notice of that one: named in full, by 'order.*', or by '*'.
create function webhook_wants(p_types text[], p_type text) returns boolean language sql immutable as $$
    select exists (
        select from unnest(p_types) as wanted
        where wanted in (p_type, '*') or right(wanted, 2) = '.*' and starts_with(p_type, left(wanted, -1))
    )
$$;
