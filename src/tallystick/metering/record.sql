-- name: clock$
select clock_timestamp();

-- name: payers
-- As accounts.organization.resolve_payer, for many at once.
select named.id as named, organization.id as organization, organization.account
from unnest(:named::text[]) as named (id)
left join app_user on app_user.id = named.id
join organization on organization.id = coalesce(app_user.personal_organization, named.id);

-- name: owners_of_keys
select id, organization from api_key where id = any(:keys::text[]);

-- name: record
select place, outcome, at, starts_at, ends_at, late, increase, over_cap, charge
from record_usage_events(:events::usage_event_entry[]);
