-- name: keep_customer$
-- Two first purchases at once: the first one kept wins, and both are told of it.
insert into stripe_customer (organization, livemode, id) values (:organization, :livemode, :id)
on conflict (organization, livemode) do update set id = stripe_customer.id
returning id;
