-- name: claim(livemode, row_limit)
-- Nothing is locked while Stripe is asked: who claims a row has it for a minute, which is longer than a call can take.
-- So two names are never on their way at once.
update provisioning set rename_at = clock_timestamp() + interval '1 minute'
where livemode = :livemode and organization in (
    select organization from provisioning
    where livemode = :livemode and done_at is not null and rename_at <= clock_timestamp()
    order by rename_at
    limit :row_limit
    for update skip locked
)
returning organization, renames;

-- name: present(organization, livemode)^
-- Read after the row was claimed: the name is that of its last rename, or a later one.
select organization.name, customer.id as customer
from organization
join stripe_customer as customer on customer.organization = organization.id and customer.livemode = :livemode
where organization.id = :organization;

-- name: told(organization, livemode, renames)!
update provisioning set rename_at = null
where organization = :organization and livemode = :livemode and renames = :renames;
