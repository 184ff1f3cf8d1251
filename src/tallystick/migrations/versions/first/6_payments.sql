create table payment_order (
    id text primary key,
    organization text not null references organization,
    account bigint not null references ledger_account,
    state text not null check (state in ('created', 'awaiting_payment', 'credited', 'expired', 'failed')),
    pack text,
    amount_minor bigint not null check (amount_minor > 0),
    currency text not null,
    credits bigint not null check (credits > 0),
    stripe_session text unique,
    stripe_payment_intent text unique,
    checkout_url text,
    created_by text,
    created_at timestamptz not null default clock_timestamp(),
    credited_at timestamptz
);
create index payment_order_organization on payment_order (organization, created_at);

-- The webhook inbox: every event is stored, raw, before it is acted on.
create table stripe_event (
    id text primary key,
    type text not null,
    body bytea not null,
    livemode boolean not null,
    state text not null default 'received' check (state in ('received', 'processed', 'ignored', 'quarantined')),
    reason text,
    attempts integer not null default 0,
    received_at timestamptz not null default clock_timestamp(),
    processed_at timestamptz
);
create index stripe_event_open on stripe_event (received_at) where state = 'received';
