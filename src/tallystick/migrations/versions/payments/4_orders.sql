-- One life for every order, however it is paid.
alter table payment_order
    add column kind text not null default 'checkout' check (kind in ('checkout', 'manual', 'top_up')),
    -- What was taken off the price, and by which coupon. `amount_minor` is what is paid.
    add column coupon text,
    add column discount_minor bigint not null default 0 check (discount_minor >= 0),
    -- Of a manual settlement: what the customer wrote on the transfer, and on what proof who let it count.
    add column reference text,
    add column proof text,
    add column approved_by text,
    add column rejected_by text,
    -- Why it is as it is: the code of a decline, what about a payment did not fit.
    add column reason text,
    add column paid_at timestamptz,
    -- The first of two operators, where two must agree.
    add column first_approved_by text,
    -- How much of `credits` the money that came is worth; the rest is a gift of ours. Null until it is credited, and
    -- where the version before credited it: then all of it was booked as paid.
    add column paid_credits bigint check (paid_credits between 1 and credits),
    -- What came in, where that was not what the order asked for.
    add column received_minor bigint check (received_minor >= 0),
    add column received_currency text,
    -- The buyer's card may be charged again later; the card that is charged, of a top-up.
    add column save_card boolean not null default false,
    add column payment_method text,
    -- What a month's top-ups might come to when this one was made.
    add column ceiling_minor bigint,
    -- What went back of the payment so far: refunds that did not fail, disputes that are open or lost.
    add column refunded_minor bigint not null default 0 check (refunded_minor >= 0),
    add column disputed_minor bigint not null default 0 check (disputed_minor >= 0),
    drop constraint payment_order_state_check,
    drop constraint payment_order_check1,
    drop constraint payment_order_check2,
    drop constraint payment_order_check3,
    drop constraint payment_order_check4,
    add constraint payment_order_state_check check (
        state in ('created', 'awaiting_payment', 'paid', 'credited', 'expired', 'failed', 'refunded', 'disputed')
    ),
    add constraint a_page_to_pay_on check (
        state <> 'awaiting_payment' or kind <> 'checkout' or stripe_session is not null
    ),
    -- The credits came by one operation at one time, and by one payment or on one operator's word. Money that came and
    -- was not credited can go back, too.
    add constraint credited_by_an_operation check (
        (state <> 'credited' or operation is not null)
        and (operation is null or state in ('credited', 'refunded', 'disputed'))
        and (operation is null) = (credited_at is null)
    ),
    add constraint credited_for_something check (
        operation is null or (kind = 'manual' and approved_by is not null and proof is not null)
        or (kind <> 'manual' and stripe_payment_intent is not null)
    ),
    -- What came, of money that was set aside: more can go back than was asked for, or less.
    add constraint no_more_than_was_paid check (
        refunded_minor + disputed_minor
        <= case when operation is null then coalesce(received_minor, amount_minor) else amount_minor end
    );
create index payment_order_organization on payment_order (organization, created_at desc);
create index payment_order_waiting on payment_order (created_at) where state in ('created', 'awaiting_payment', 'paid');
-- One top-up of an organization at a time, whoever asks for it.
create unique index payment_order_one_top_up on payment_order (organization)
    where kind = 'top_up' and state in ('created', 'awaiting_payment', 'paid');
create index payment_order_top_up on payment_order (organization, created_at) where kind = 'top_up';

alter table catalog_entry drop constraint catalog_entry_kind_check;
alter table catalog_entry add constraint catalog_entry_kind_check check (
    kind in ('provider', 'cost_profile', 'price', 'route', 'pack', 'plan', 'meter', 'feature', 'coupon')
) not valid;
alter table catalog_entry validate constraint catalog_entry_kind_check;

-- What Stripe itself said of a payment when it was asked, where that credited an order before an event told of it.
create table payment_seen (
    payment_intent text primary key,
    order_id text not null references payment_order,
    amount_minor bigint not null,
    currency text not null,
    livemode boolean not null,
    at timestamptz not null default clock_timestamp()
);
select make_append_only('payment_seen');

-- How often a coupon is taken: one row each, which takes turns of who wants the last one.
create table coupon_count (
    code text primary key,
    taken integer not null check (taken >= 0)
);

-- Who took a coupon, and for what. One that ends unpaid is given back, and another may take its place.
create table coupon_redemption (
    id bigint generated always as identity primary key,
    code text not null references coupon_count,
    organization text not null references organization,
    taken_by text not null,
    -- A discount on an order, or credits for nothing.
    order_id text unique references payment_order,
    operation uuid unique,
    -- How many had it then, this one included, of how many that may.
    number integer not null check (number > 0),
    most integer check (number <= most),
    -- How many of them one organization may have, and whether it is for its first purchase alone.
    each integer check (each > 0),
    first_purchase boolean not null default false,
    taken_at timestamptz not null default clock_timestamp(),
    given_back_at timestamptz,
    check ((order_id is null) <> (operation is null)),
    check (given_back_at is null or order_id is not null)
);
create index coupon_redemption_code on coupon_redemption (code, organization) where given_back_at is null;
-- Of an organization's open and paid orders only one is its first, whatever the coupon.
create unique index coupon_redemption_first on coupon_redemption (organization)
    where first_purchase and given_back_at is null;

-- Buy by the saved card whenever less than `threshold` can be spent. Amounts of money in minor units.
create table top_up (
    organization text primary key references organization,
    account bigint not null references ledger_account,
    enabled boolean not null default true,
    threshold bigint not null check (threshold > 0),
    amount_minor bigint not null check (amount_minor > 0),
    monthly_max_minor bigint not null,
    currency text not null check (currency ~ '^[a-z]{3}$'),
    cool_down interval not null check (cool_down >= '0'),
    payment_method text not null,
    card text not null,
    -- Why it stands still until a person turns it on again: 'declined', 'authentication_required'.
    stopped text,
    stopped_at timestamptz,
    changed_by text not null,
    changed_at timestamptz not null default clock_timestamp(),
    check (monthly_max_minor >= amount_minor),
    check ((stopped is null) = (stopped_at is null))
);
create index top_up_running on top_up (account) where enabled and stopped is null;

-- Tell of a balance that fell below `threshold`: once, until it was above again.
create table balance_alert (
    organization text not null references organization,
    threshold bigint not null check (threshold > 0),
    account bigint not null references ledger_account,
    armed boolean not null default true,
    crossings integer not null default 0,
    primary key (organization, threshold)
);
create index balance_alert_account on balance_alert (account);
create index balance_alert_silent on balance_alert (account) where not armed;
