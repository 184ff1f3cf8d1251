-- name: insert_organization(id, name, account)^
insert into organization (id, name, account) values (:id, :name, :account)
returning id, name, account, state, default_max_tokens, created_at;

-- name: find_organization(id)^
select id, name, account, state, default_max_tokens, created_at from organization where id = :id;

-- name: lock_organization(id)$
select id from organization where id = :id for no key update;

-- name: rename_organization(id, name)^
update organization set name = :name where id = :id
returning id, name, account, state, default_max_tokens, created_at;

-- name: list_organizations(after, row_limit)
-- Ids are time-ordered, so this is the order in which they were made.
select id, name, account, state, default_max_tokens, created_at from organization
where id > :after
order by id
limit :row_limit;

-- name: find_payer(id)^
select id, account from organization
where id = coalesce((select personal_organization from app_user where app_user.id = :id), :id);

-- name: change_organization(id, state, default_max_tokens)^
with changed as (
    update organization set state = :state, default_max_tokens = :default_max_tokens
    where id = :id
    returning id, name, account, state, default_max_tokens, created_at
)
select changed.*, announce('organization', changed.id) from changed;
