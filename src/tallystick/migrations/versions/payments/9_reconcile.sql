-- Every movement of Stripe's balance, as Stripe lists it: one line that never changes there. What caused it is booked by
-- its own operation; its fee, payouts, and what is not ours are booked from here, under the movement's own id.
create table stripe_movement (
    id text primary key,
    livemode boolean not null,
    category text not null,
    amount_minor bigint not null,
    fee_minor bigint not null,
    currency text not null check (currency ~ '^[a-z]{3}$'),
    source text,
    -- The payment that it belongs to, where it belongs to one.
    payment_intent text,
    at timestamptz not null,
    -- 'ours', or 'other': another business in the same Stripe account. Null as long as nobody knows: a difference.
    belongs text check (belongs in ('ours', 'other')),
    operation uuid,
    check (belongs is not null or operation is null)
);
create index stripe_movement_payment_intent on stripe_movement (payment_intent);
create index stripe_movement_unknown on stripe_movement (id) where belongs is null;

-- Payments in the same Stripe account that are not ours: they name no customer of ours, or an operator said so.
create table foreign_payment (
    payment_intent text primary key,
    said_by text not null check (said_by <> ''),
    reason text not null check (reason <> ''),
    at timestamptz not null default clock_timestamp()
);

-- What each run found and mended. Kept, so that a month can be closed with the run that proves it.
create table reconciliation (
    id bigint generated always as identity primary key,
    livemode boolean not null,
    since timestamptz,
    began_at timestamptz not null,
    ended_at timestamptz not null default clock_timestamp(),
    events_fetched integer not null,
    movements integer not null,
    mended jsonb not null check (jsonb_typeof(mended) = 'array'),
    differences jsonb not null check (jsonb_typeof(differences) = 'array'),
    -- What was under way, and no difference yet.
    waiting jsonb not null check (jsonb_typeof(waiting) = 'array')
);
