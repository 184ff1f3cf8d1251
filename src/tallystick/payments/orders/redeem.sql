-- name: redeemed^
select amount, expires_at from lot where id = :operation;
