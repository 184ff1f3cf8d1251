-- name: start_session(hash, user_id, password_hash, days)$
-- No session for a password that was changed while it was being checked: the lock makes the two take turns.
insert into user_session (hash, user_id, expires_at)
select cast(:hash as bytea), app_user.id, clock_timestamp() + make_interval(days => :days)
from app_user
where app_user.id = :user_id and app_user.password_hash = :password_hash
for share
returning expires_at;

-- name: find_session(hash, organization)^
-- The organization is null where the user is not a member of the one asked for.
select
    app_user.id as user_id, app_user.email,
    organization.id as organization, organization.account, organization.state as organization_state, member.role
from user_session
join app_user on app_user.id = user_session.user_id
left join member
    on member.user_id = app_user.id
    and member.organization = coalesce(cast(:organization as text), app_user.personal_organization)
left join organization on organization.id = member.organization
where user_session.hash = :hash
    and user_session.revoked_at is null
    and user_session.expires_at > clock_timestamp();

-- name: end_session(hash)!
with ended as (
    update user_session set revoked_at = clock_timestamp()
    where hash = :hash and revoked_at is null
    returning user_id
)
select announce('session', user_id) from ended;

-- name: end_sessions_of(user_id)!
with ended as (
    update user_session set revoked_at = clock_timestamp()
    where user_id = :user_id and revoked_at is null
    returning user_id
)
select announce('session', user_id) from ended limit 1;

-- name: drop_old_sessions_of(user_id)!
delete from user_session where user_id = :user_id and expires_at < clock_timestamp() - interval '30 days';
