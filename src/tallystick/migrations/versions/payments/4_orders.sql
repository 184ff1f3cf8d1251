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
    -- Why it is as it is: the code of a decline, what about a payment did not fit.
    add column reason text,
    add column paid_at timestamptz,
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
    -- The credits came by one operation at one time, and by one payment or on one operator's word.
    add constraint credited_by_an_operation check (
        (state in ('credited', 'refunded', 'disputed')) = (operation is not null)
        and (operation is null) = (credited_at is null)
    ),
    add constraint credited_for_something check (
        operation is null or (kind = 'manual' and approved_by is not null and proof is not null)
        or (kind <> 'manual' and stripe_payment_intent is not null)
    ),
    add constraint no_more_than_was_paid check (refunded_minor + disputed_minor <= amount_minor);
create index payment_order_organization on payment_order (organization, created_at desc);
create index payment_order_waiting on payment_order (created_at) where state in ('created', 'awaiting_payment', 'paid');
