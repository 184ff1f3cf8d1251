-- name: add_member(organization, user_id, role)!
insert into member (organization, user_id, role) values (:organization, :user_id, :role);

-- name: organizations_of(user_id)
select organization.id, organization.name, organization.state, member.role
from member
join organization on organization.id = member.organization
where member.user_id = :user_id
order by organization.created_at, organization.id;

-- name: role_in(organization, user_id)$
select role from member where organization = :organization and user_id = :user_id;
