-- name: open_orders$
select count(*) from payment_order
where organization = :organization and kind = 'manual' and state in ('created', 'awaiting_payment');
