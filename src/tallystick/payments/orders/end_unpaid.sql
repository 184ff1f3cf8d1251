-- name: stale
-- Without a session nobody has a page to pay on. What has one is ended by Stripe's word.
select id from payment_order
where state in ('created', 'awaiting_payment')
    and (
        (kind = 'checkout' and stripe_session is null and created_at < clock_timestamp() - :checkout_for::interval)
        or (kind = 'manual' and created_at < clock_timestamp() - :manual_for::interval)
    )
order by created_at
limit :row_limit;
