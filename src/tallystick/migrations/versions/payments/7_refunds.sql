-- What goes back of payments, what that takes from customers, and what they then owe.

-- Ours, which is Stripe's idempotency key, or made by somebody at Stripe: then it has Stripe's id.
create table refund (
    id text primary key,
    -- What was paid: an order, or a plan's invoice.
    payment_order text references payment_order,
    stripe_invoice text,
    amount_minor bigint not null check (amount_minor > 0),
    -- 'asked' until Stripe has answered; 'refused' where its answer was no.
    state text not null
        check (state in ('asked', 'pending', 'requires_action', 'succeeded', 'failed', 'canceled', 'refused')),
    stripe_refund text unique,
    asked_by text not null check (asked_by <> ''),
    -- Why it was made; why it did not come to be; on what proof it was paid outside of Stripe.
    reason text,
    failure text,
    proof text,
    created_at timestamptz not null default clock_timestamp(),
    retry_at timestamptz not null default clock_timestamp(),
    attempts integer not null default 0,
    check ((payment_order is null) <> (stripe_invoice is null))
);
create index refund_payment_order on refund (payment_order);
create index refund_stripe_invoice on refund (stripe_invoice) where stripe_invoice is not null;
create index refund_asked on refund (retry_at) where state = 'asked';
create index refund_created on refund (created_at desc, id);

create table dispute (
    id text primary key,
    -- What was paid: an order, or a plan's invoice.
    payment_order text references payment_order,
    stripe_invoice text,
    amount_minor bigint not null check (amount_minor > 0),
    status text not null,
    reason text not null,
    -- How often the money was taken from us, and how often it came back.
    withdrawals integer not null check (withdrawals >= 0),
    reinstatements integer not null check (reinstatements between 0 and withdrawals),
    respond_by timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    check ((payment_order is null) <> (stripe_invoice is null))
);
create index dispute_payment_order on dispute (payment_order);
create index dispute_stripe_invoice on dispute (stripe_invoice) where stripe_invoice is not null;
create index dispute_created on dispute (created_at desc, id);

-- What one refund, or one withdrawal for a dispute, takes back of an order's credits. In nanocredits: what the money was
-- worth, what had been given on top of it, and how much of both could still be taken. The rest is owed. Of an invoice it
-- is taken from what plans brought in, all of it. A bank may take more for a dispute than refunds have left of the
-- payment: that is `excess`, and owed as well.
create table clawback (
    operation uuid primary key,
    -- The same for all attempts at one cause: what leaves more of the payment makes it be taken anew.
    cause uuid not null,
    payment_order text references payment_order,
    stripe_invoice text,
    refund text references refund,
    dispute text references dispute,
    amount_minor bigint not null check (amount_minor >= 0),
    money bigint not null check (money >= 0),
    bonus bigint not null check (bonus >= 0),
    taken bigint not null check (taken between 0 and money + bonus),
    excess bigint not null default 0 check (excess >= 0),
    -- Of a dispute about a plan's invoice: what the customer may do until its money is back. Credits of an order that
    -- were spent are a debt, which says the same.
    policy text check (policy in ('none', 'throttle', 'freeze')),
    at timestamptz not null default clock_timestamp(),
    reversed_at timestamptz,
    check ((refund is null) <> (dispute is null)),
    check ((policy is null) = (dispute is null or stripe_invoice is null)),
    check ((payment_order is null) <> (stripe_invoice is null)),
    check (money + excess > 0),
    check (excess = 0 or dispute is not null)
);
create index clawback_cause on clawback (cause);
create index clawback_payment_order on clawback (payment_order);
create index clawback_stripe_invoice on clawback (stripe_invoice) where stripe_invoice is not null;
-- Each takes back once at a time.
create unique index clawback_refund on clawback (refund) where reversed_at is null;
create unique index clawback_dispute on clawback (dispute) where reversed_at is null;

-- What a customer owes because the credits were spent before their payment went back.
create table debt (
    operation uuid primary key references clawback,
    organization text not null references organization,
    account bigint not null references ledger_account,
    amount bigint not null check (amount > 0),
    open bigint not null check (open between 0 and amount),
    -- What the customer may do as long as something of it is open.
    policy text not null check (policy in ('none', 'throttle', 'freeze')),
    began_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    check ((open = 0) = (ended_at is not null))
);
create index debt_open on debt (organization, began_at) where open > 0;

-- What paid a debt, or gave it up.
create table debt_payment (
    operation uuid primary key,
    debt uuid not null references debt,
    kind text not null check (kind in ('collection', 'write_off')),
    amount bigint not null check (amount > 0),
    at timestamptz not null default clock_timestamp(),
    reversed_at timestamptz
);
create index debt_payment_debt on debt_payment (debt);

-- How an organization is held back, whatever its plan says.
create table restriction (
    organization text primary key references organization,
    kind text not null check (kind in ('throttle', 'freeze')),
    because text not null check (because in ('debt', 'dispute')),
    since timestamptz not null default clock_timestamp()
);
