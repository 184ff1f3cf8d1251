-- name: find$
select id from stripe_customer where organization = :organization and livemode = :livemode;

-- name: is_customer$
select exists (select from stripe_customer where id = :id);
