-- Who an organization is at Stripe: one customer in test mode, another in live mode.
create table stripe_customer (
    organization text not null references organization,
    livemode boolean not null,
    id text not null unique,
    created_at timestamptz not null default clock_timestamp(),
    primary key (organization, livemode)
);

-- Stored before Stripe hears of it: its id is Stripe's idempotency key and stands in the metadata of all that follows.
create table payment_order (
    id text primary key,
    organization text not null references organization,
    account bigint not null references ledger_account,
    -- The buyer's own idempotency key; the order's id where none was given.
    request_id text not null,
    state text not null default 'created'
        check (state in ('created', 'awaiting_payment', 'credited', 'expired', 'failed')),
    pack text,
    amount_minor bigint not null check (amount_minor > 0),
    currency text not null check (currency ~ '^[a-z]{3}$'),
    credits bigint not null check (credits > 0),
    livemode boolean not null,
    stripe_session text unique,
    checkout_url text,
    stripe_payment_intent text unique,
    -- The ledger's operation that credited it.
    operation uuid unique,
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    credited_at timestamptz,
    unique (organization, request_id),
    check ((stripe_session is null) = (checkout_url is null)),
    check (state <> 'awaiting_payment' or stripe_session is not null),
    -- Credited means paid by one payment, posted by one operation, at one time: all or none of it.
    check ((state = 'credited') = (stripe_payment_intent is not null)),
    check ((state = 'credited') = (operation is not null)),
    check ((state = 'credited') = (credited_at is not null))
);
create index payment_order_credited on payment_order (account, credited_at desc) where state = 'credited';

-- Credits given by a promotion or a named operator, not bought by card. Append-only.
create table credit_grant (
    operation uuid primary key,
    account bigint not null references ledger_account,
    kind text not null check (kind in ('promotional', 'purchased')),
    amount bigint not null check (amount > 0),
    -- Who or what gave it: 'operator:ada', 'promotion:welcome'.
    source text not null check (source <> ''),
    at timestamptz not null default clock_timestamp()
);

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
    retry_at timestamptz not null default clock_timestamp(),
    processed_at timestamptz,
    check ((state = 'received') = (processed_at is null))
);
create index stripe_event_open on stripe_event (retry_at) where state = 'received';
