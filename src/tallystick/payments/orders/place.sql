-- name: insert_order^
-- A new order, or nothing when this request made one before.
insert into payment_order (
    id, organization, account, request_id, kind, pack, coupon, amount_minor, discount_minor, currency, credits,
    save_card, livemode, reference, payment_method, ceiling_minor, created_by
) values (
    :id, :organization, :account, :request_id, :kind, :pack, :coupon, :amount_minor, :discount_minor, :currency,
    :credits, :save_card, :livemode, :reference, :payment_method, :ceiling_minor, :created_by
)
on conflict (organization, request_id) do nothing
returning *;

-- name: find_by_request^
select * from payment_order where organization = :organization and request_id = :request_id;
