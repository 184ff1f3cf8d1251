-- name: lock_organization(id)$
-- Keys of one organization are made one after the other, so that their number is exact.
select id from organization where id = :id for no key update;

-- name: count_live_keys(organization)$
select count(*) from api_key
where organization = :organization and revoked_at is null and (expires_at is null or expires_at > clock_timestamp());

-- name: insert_key(id, organization, name, prefix, hash, expires_at)^
-- No row where the expiry is not in the future, by the clock that will decide about it.
insert into api_key (id, organization, name, prefix, hash, expires_at)
select :id, :organization, :name, :prefix, cast(:hash as bytea), cast(:expires_at as timestamptz)
where cast(:expires_at as timestamptz) is null or cast(:expires_at as timestamptz) > clock_timestamp()
returning id, organization, name, prefix, created_at, expires_at, revoked_at;

-- name: find_key(id)^
select id, organization, name, prefix, created_at, expires_at, revoked_at from api_key where id = :id;

-- name: list_keys(organization, before, row_limit)
-- Ids are time-ordered: the newest first.
select id, organization, name, prefix, created_at, expires_at, revoked_at from api_key
where organization = :organization and (cast(:before as text) is null or id < :before)
order by id desc
limit :row_limit;

-- name: revoke_key(id, organization)^
-- Revoked and announced in one statement. Said again for a key that was revoked before: hearing it twice does no harm.
with revoked as (
    update api_key set revoked_at = coalesce(revoked_at, clock_timestamp())
    where id = :id and organization = :organization
    returning hash
)
select announce('api_key', encode(revoked.hash, 'hex')) from revoked;
