-- name: change^
-- What is null stays as it is, but for the reason, which belongs to the state.
update payment_order
set state = :state, reason = :reason,
    stripe_session = coalesce(:stripe_session, stripe_session),
    checkout_url = coalesce(:checkout_url, checkout_url),
    stripe_payment_intent = coalesce(:stripe_payment_intent, stripe_payment_intent),
    operation = coalesce(:operation, operation),
    amount_minor = coalesce(:amount_minor, amount_minor),
    credits = coalesce(:credits, credits),
    paid_credits = coalesce(:paid_credits, paid_credits),
    first_approved_by = coalesce(:first_approved_by, first_approved_by),
    approved_by = coalesce(:approved_by, approved_by),
    rejected_by = coalesce(:rejected_by, rejected_by),
    proof = coalesce(:proof, proof),
    received_minor = coalesce(:received_minor, received_minor),
    received_currency = coalesce(:received_currency, received_currency),
    refunded_minor = coalesce(:refunded_minor, refunded_minor),
    disputed_minor = coalesce(:disputed_minor, disputed_minor),
    paid_at = case when :state in ('paid', 'credited') then coalesce(paid_at, clock_timestamp()) else paid_at end,
    credited_at = case when :operation::uuid is null then credited_at else clock_timestamp() end
where id = :id
returning *;
