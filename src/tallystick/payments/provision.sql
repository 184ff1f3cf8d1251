-- name: claim(livemode, row_limit)
-- Nothing is locked while Stripe is asked: who claims a row has it until it may be tried again, and should they die,
-- somebody else then asks under the same key. In the end a little less often than a key is given up: a try that found it
-- not quite old enough would ask nothing.
update provisioning set
    attempts = attempts + 1,
    retry_at = clock_timestamp() + least(interval '1 minute' * power(2, least(attempts, 10)), interval '11 minutes')
where livemode = :livemode and organization in (
    select organization from provisioning
    where livemode = :livemode and done_at is null and retry_at <= clock_timestamp()
    order by retry_at
    limit :row_limit
    for update skip locked
)
returning organization, generation, name, email, began_at, clock_timestamp() - key_since as key_age;

-- name: task(organization, livemode)^
select organization, generation, name, email, began_at, clock_timestamp() - key_since as key_age
from provisioning
where organization = :organization and livemode = :livemode;

-- name: next_key(organization, livemode, generation, plain)^
-- Of two that want a new key the first one gets it; the other sees no row. What is sent under a key is kept with it.
update provisioning set
    generation = generation + 1,
    key_since = clock_timestamp(),
    began_at = coalesce(began_at, clock_timestamp()),
    name = case when :plain then null else (select name from organization where id = :organization) end,
    email = case when :plain then null else (
        select app_user.email from member join app_user on app_user.id = member.user_id
        where member.organization = :organization and member.role = 'owner'
        order by app_user.created_at, app_user.id
        limit 1
    ) end
where organization = :organization and livemode = :livemode and generation = :generation
returning generation, name, email, began_at;

-- name: keep(organization, livemode, customer)!
-- The first customer stays. Any conflict: of two who keep the same one at once, either key may tell the second.
insert into stripe_customer (organization, livemode, id) values (:organization, :livemode, :customer)
on conflict do nothing;

-- name: done(organization, livemode)!
update provisioning set done_at = clock_timestamp(), problem = null
where organization = :organization and livemode = :livemode;

-- name: keep_problem(organization, livemode, problem)!
update provisioning set problem = :problem where organization = :organization and livemode = :livemode;
