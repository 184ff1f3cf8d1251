-- name: insert^
-- None where the organization has as many as it may. Whoever adds one waits for who adds one at the same time.
with locked as (
    select id from organization where id = :organization for no key update
)
insert into webhook_endpoint (id, organization, url, types, description, key_id, sealed)
select :id, locked.id, :url, :types::text[], :description, :key_id, :sealed
from locked
where (select count(*) from webhook_endpoint where organization = locked.id) < :most::bigint
returning
    id, organization, url, types, description, enabled, disabled_reason, failing_since, previous_until, created_at;

-- name: of_organization
select id, organization, url, types, description, enabled, disabled_reason, failing_since, previous_until, created_at
from webhook_endpoint where organization = :organization order by id;

-- name: find^
select id, organization, url, types, description, enabled, disabled_reason, failing_since, previous_until, created_at
from webhook_endpoint where organization = :organization and id = :id;

-- name: owner$
select organization from webhook_endpoint where id = :id;

-- name: lock$
select id from webhook_endpoint where organization = :organization and id = :id for no key update;

-- name: update!
update webhook_endpoint set
    url = :url, types = :types::text[], description = :description, enabled = :enabled,
    disabled_reason = :disabled_reason, failing_since = :failing_since
where id = :id;

-- name: delete!
delete from webhook_endpoint where id = :id;

-- name: rotate^
-- Of an earlier rotation that still overlaps the oldest secret goes: two sign at the most.
update webhook_endpoint set
    key_id = :key_id, sealed = :sealed,
    previous_key_id = case when :overlap::interval > interval '0' then key_id end,
    previous_sealed = case when :overlap::interval > interval '0' then sealed end,
    previous_until = case when :overlap::interval > interval '0' then clock_timestamp() + :overlap::interval end
where id = :id
returning
    id, organization, url, types, description, enabled, disabled_reason, failing_since, previous_until, created_at;

-- name: disable^
update webhook_endpoint set enabled = false, disabled_reason = :reason
where id = :id
returning
    id, organization, url, types, description, true as enabled, null as disabled_reason, failing_since, previous_until,
    created_at;

-- name: give_up!
-- What was to be sent to an endpoint that is disabled.
update webhook_delivery set state = 'failed', ended_at = clock_timestamp() where endpoint = :id and state = 'waiting';
