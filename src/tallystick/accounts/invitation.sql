-- name: is_member(organization, email)$
select exists (
    select from member
    join app_user on app_user.id = member.user_id
    where member.organization = :organization and app_user.email = :email
);

-- name: replace_open(organization, email)!
update invitation set revoked_at = clock_timestamp()
where organization = :organization and email = :email and accepted_at is null and revoked_at is null;

-- name: count_open(organization)$
select count(*) from invitation
where organization = :organization and accepted_at is null and revoked_at is null and expires_at > clock_timestamp();

-- name: insert_invitation(id, organization, email, role, hash, invited_by, days)^
insert into invitation (id, organization, email, role, hash, invited_by, expires_at)
values (
    :id, :organization, :email, :role, :hash, :invited_by, clock_timestamp() + make_interval(days => :days)
)
returning id, email, role, invited_by, created_at, expires_at;

-- name: list_open(organization, row_limit)
select id, email, role, invited_by, created_at, expires_at from invitation
where organization = :organization and accepted_at is null and revoked_at is null and expires_at > clock_timestamp()
order by id desc
limit :row_limit;

-- name: revoke(id, organization)$
update invitation set revoked_at = clock_timestamp()
where id = :id and organization = :organization and accepted_at is null and revoked_at is null
returning id;

-- name: find_open(hash)^
-- With the role that whoever invited has now; no row where they are no member any more.
select
    invitation.id, invitation.organization, organization.name as organization_name, invitation.email, invitation.role,
    invitation.invited_by, app_user.email as inviter, member.role as inviter_role
from invitation
join organization on organization.id = invitation.organization
join app_user on app_user.id = invitation.invited_by
join member on member.organization = invitation.organization and member.user_id = invitation.invited_by
where invitation.hash = :hash
    and invitation.accepted_at is null and invitation.revoked_at is null
    and invitation.expires_at > clock_timestamp();

-- name: mark_accepted(id, user_id)!
update invitation set accepted_at = clock_timestamp(), accepted_by = :user_id where id = :id;

-- name: email_of(user_id)$
select email from app_user where id = :user_id;
