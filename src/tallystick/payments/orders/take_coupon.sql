-- name: clock$
select clock_timestamp();

-- name: wait_for_first^
-- Of first purchases with different coupons, too, one comes after the other. A lock of its own, taken before a coupon's
-- turn and nowhere else: whoever has it waits for nobody who waits for it.
select pg_advisory_xact_lock(31261, hashtext(:organization));

-- name: count_up$
-- The row is locked from here on. Nothing comes back where the coupon is used up.
insert into coupon_count as counted (code, taken) values (:code, 1)
on conflict (code) do update set taken = counted.taken + 1
where :most::integer is null or counted.taken < :most
returning taken;

-- name: count_down!
update coupon_count set taken = taken - 1 where code = :code;

-- name: taken_by$
select count(*) from coupon_redemption
where code = :code and organization = :organization and given_back_at is null;

-- name: bought_before$
-- Orders that are on their way with a coupon count, too: of two first purchases only one is the first.
select exists (
    select from payment_order
    where organization = :organization and (operation is not null or state = 'paid')
        and id is distinct from :order_id
) or exists (
    select from coupon_redemption
    where organization = :organization and order_id is not null and given_back_at is null
);

-- name: keep!
insert into coupon_redemption (
    code, organization, taken_by, order_id, operation, number, most, each, first_purchase
) values (:code, :organization, :taken_by, :order_id, :operation, :number, :most, :each, :first_purchase);

-- name: give_back!
update coupon_redemption set given_back_at = clock_timestamp()
where order_id = :order_id and given_back_at is null;

-- name: given_back^
select most, each, first_purchase from coupon_redemption where order_id = :order_id and given_back_at is not null;

-- name: keep_again!
update coupon_redemption set given_back_at = null, number = :number where order_id = :order_id;
