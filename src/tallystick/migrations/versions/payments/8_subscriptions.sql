-- Subscriptions that Stripe bills: what was asked of it, and what it says.

-- Every look at a customer's subscriptions is one version: what an older look saw is not written over a newer one.
alter table stripe_customer add column looked bigint not null default 0;

-- A page of Stripe's to subscribe on. Stored before Stripe hears of it.
create table billing_checkout (
    id text primary key,
    organization text not null references organization,
    livemode boolean not null,
    -- The version of a plan, and the price at Stripe that stands for it.
    plan_version bigint not null,
    stripe_price text not null,
    trial_days integer not null check (trial_days >= 0),
    success_url text not null,
    cancel_url text not null,
    asked_by text not null,
    -- superseded: another page led to a subscription, and Stripe is yet to be told to close this one.
    state text not null default 'created'
        check (state in ('created', 'open', 'completed', 'superseded', 'expired', 'failed')),
    -- How often Stripe was asked for the page: it repeats a failure that it remembers under a key.
    attempts integer not null default 0,
    stripe_session text unique,
    url text,
    created_at timestamptz not null default clock_timestamp(),
    check ((stripe_session is null) = (url is null)),
    check (state not in ('open', 'completed', 'superseded') or stripe_session is not null)
);
create index billing_checkout_organization on billing_checkout (organization, created_at desc);
create index billing_checkout_superseded on billing_checkout (id) where state = 'superseded';

-- Every subscription that a customer of ours has or had at Stripe, as it was when it was last looked at.
create table stripe_subscription (
    id text primary key,
    organization text not null references organization,
    livemode boolean not null,
    -- Stripe's own word.
    status text not null,
    price text,
    -- Null where no version of a plan is known to have this price.
    plan_version bigint,
    period_starts_at timestamptz,
    period_ends_at timestamptz,
    cancel_at timestamptz,
    created_at timestamptz not null,
    ended_at timestamptz,
    -- Why it is not the organization's subscription here although it is alive there.
    problem text,
    looked_at timestamptz not null default clock_timestamp()
);
create index stripe_subscription_organization on stripe_subscription (organization, created_at);
create index stripe_subscription_problem on stripe_subscription (id) where problem is not null;

-- Prices at Stripe that stand for plans, and for the meters of plans. A version's price never changes.
create table stripe_price (
    id text primary key,
    livemode boolean not null,
    plan text not null,
    plan_version bigint not null,
    -- Null for the price of the plan itself.
    meter text,
    -- Whether new subscriptions may have it.
    active boolean not null default true,
    created_at timestamptz not null default clock_timestamp(),
    unique nulls not distinct (livemode, plan_version, meter)
);

create table stripe_meter (
    livemode boolean not null,
    meter text not null,
    id text not null,
    event_name text not null,
    primary key (livemode, meter)
);

create table stripe_invoice (
    id text primary key,
    organization text not null references organization,
    livemode boolean not null,
    subscription text,
    number text,
    status text not null check (status in ('draft', 'open', 'paid', 'uncollectible', 'void')),
    currency text not null check (currency ~ '^[a-z]{3}$'),
    amount_due_minor bigint not null,
    -- What was paid of it, and of that what did not come through Stripe.
    amount_paid_minor bigint not null default 0,
    amount_elsewhere_minor bigint not null default 0,
    attempts integer not null default 0,
    period_starts_at timestamptz not null,
    period_ends_at timestamptz not null,
    hosted_url text,
    pdf_url text,
    created_at timestamptz not null,
    paid_at timestamptz,
    -- The ledger's operation that took its money in; none for an invoice of nothing.
    operation uuid unique,
    looked_at timestamptz not null default clock_timestamp(),
    check (0 <= amount_elsewhere_minor and amount_elsewhere_minor <= amount_paid_minor),
    check (operation is null or status = 'paid')
);
create index stripe_invoice_organization on stripe_invoice (organization, created_at desc, id desc);
create index stripe_invoice_subscription on stripe_invoice (subscription) where subscription is not null;

-- The payments of invoices: so that what happens to a payment finds the invoice it was for.
create table stripe_invoice_payment (
    payment_intent text primary key,
    invoice text not null references stripe_invoice,
    amount_minor bigint not null,
    status text not null
);
create index stripe_invoice_payment_invoice on stripe_invoice_payment (invoice);

-- What becomes of a subscription that Stripe bills is Stripe's to say; of ours the clock decides. Grace is ours in both.
drop index subscription_due;
create index subscription_due on subscription (
    least(
        grace_ends_at,
        case when stripe_subscription is null then
            least(pending_at, cancel_at, case status when 'trialing' then trial_ends_at end)
        end
    )
) where ended_at is null;
