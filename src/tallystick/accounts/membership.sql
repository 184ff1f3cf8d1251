-- name: list_members(organization, after, row_limit)
-- Ids are time-ordered.
select member.user_id, app_user.email, member.role
from member
join app_user on app_user.id = member.user_id
where member.organization = :organization and member.user_id > :after
order by member.user_id
limit :row_limit;

-- name: count_owners(organization)$
select count(*) from member where organization = :organization and role = 'owner';

-- name: set_role(organization, user_id, role)!
update member set role = :role where organization = :organization and user_id = :user_id;

-- name: remove_member(organization, user_id)!
delete from member where organization = :organization and user_id = :user_id;

-- name: is_personal(organization, user_id)$
select exists (select from app_user where id = :user_id and personal_organization = :organization);

-- name: user_named(name)$
select id from app_user where id = :name or email = lower(:name);
