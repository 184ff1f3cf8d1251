-- name: recipients
select app_user.id, app_user.email
from member join app_user on app_user.id = member.user_id
where member.organization = :organization and member.role = any(:roles::text[]);
