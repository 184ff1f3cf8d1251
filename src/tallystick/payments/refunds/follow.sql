-- name: is_customer$
select exists (select from stripe_customer where id = :id);
