-- name: insert_user(id, email, password_hash, personal_organization)!
insert into app_user (id, email, password_hash, personal_organization)
values (:id, :email, :password_hash, :personal_organization);

-- name: find_user_by_email(email)^
select id, password_hash, personal_organization from app_user where email = :email;

-- name: find_user(id)^
select id, password_hash from app_user where id = :id;

-- name: replace_password(id, checked_hash, new_hash)$
-- Of two changes at once, both checked against the same old password, one wins.
update app_user set password_hash = :new_hash
where id = :id and password_hash = :checked_hash
returning id;
