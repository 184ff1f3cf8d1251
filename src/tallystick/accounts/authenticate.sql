-- name: keys_by_hash(hashes)
-- Seconds left, not the moment of expiry: only this server's clock may decide about that.
select
    api_key.hash, api_key.id as key, api_key.prefix, api_key.name, api_key.scopes,
    organization.id as organization, organization.account, organization.state as organization_state,
    organization.default_max_tokens,
    cast(extract(epoch from api_key.expires_at - clock_timestamp()) as double precision) as seconds_left
from api_key
join organization on organization.id = api_key.organization
where api_key.hash = any(cast(:hashes as bytea[]))
    and api_key.revoked_at is null
    and (api_key.expires_at is null or api_key.expires_at > clock_timestamp());
