-- name: count_live_keys(organization)$
select count(*) from api_key
where organization = :organization and revoked_at is null and (expires_at is null or expires_at > clock_timestamp());

-- name: insert_key(id, organization, name, prefix, hash, expires_at, scopes, created_by)^
-- No row where the expiry is not in the future, by the clock that will decide about it.
insert into api_key (id, organization, name, prefix, hash, expires_at, scopes, created_by)
select
    :id, :organization, :name, :prefix, cast(:hash as bytea), cast(:expires_at as timestamptz),
    cast(:scopes as text[]), cast(:created_by as text)
where cast(:expires_at as timestamptz) is null or cast(:expires_at as timestamptz) > clock_timestamp()
returning id, organization, name, prefix, scopes, created_by, created_at, expires_at, revoked_at;

-- name: find_key(id)^
select id, organization, name, prefix, scopes, created_by, created_at, expires_at, revoked_at from api_key where id = :id;

-- name: list_keys(organization, before, row_limit)
-- Ids are time-ordered: the newest first.
select id, organization, name, prefix, scopes, created_by, created_at, expires_at, revoked_at from api_key
where organization = :organization and (cast(:before as text) is null or id < :before)
order by id desc
limit :row_limit;

-- name: lock_key(id, organization)^
select revoked_at, encode(hash, 'hex') as subject from api_key
where id = :id and organization = :organization
for no key update;

-- name: revoke_key(id)!
update api_key set revoked_at = clock_timestamp() where id = :id and revoked_at is null;

-- name: take_scope(organization, created_by, scope)
-- Announced, so that no process remembers the key with what it may do no more.
with narrowed as (
    update api_key set scopes = array_remove(scopes, :scope)
    where organization = :organization and created_by = :created_by and :scope = any(scopes) and revoked_at is null
    returning id, hash
)
select narrowed.id, announce('api_key', encode(narrowed.hash, 'hex')) from narrowed;

-- name: announce_key(subject)$
select announce('api_key', :subject);
