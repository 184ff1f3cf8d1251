-- name: place^
-- A new order, or nothing when this request made one before.
insert into payment_order (
    id, organization, account, request_id, pack, amount_minor, currency, credits, livemode, created_by
) values (
    :id, :organization, :account, :request_id, :pack, :amount_minor, :currency, :credits, :livemode, :created_by
)
on conflict (organization, request_id) do nothing
returning *;

-- name: find_by_request^
select * from payment_order where organization = :organization and request_id = :request_id;

-- name: lock^
select * from payment_order where id = :id for update;

-- name: await_payment!
-- A payment may already have been credited, or the same answer stored by a twin of this request: both stay.
update payment_order
set stripe_session = :session, checkout_url = :url,
    state = case state when 'created' then 'awaiting_payment' else state end
where id = :id and stripe_session is null;

-- name: mark_credited!
update payment_order
set state = 'credited', stripe_payment_intent = :payment_intent, operation = :operation,
    credited_at = clock_timestamp()
where id = :id;

-- name: mark_unpaid!
update payment_order set state = :state
where id = :id and state in ('created', 'awaiting_payment', 'failed') and state <> :state;
