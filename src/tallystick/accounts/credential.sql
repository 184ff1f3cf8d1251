-- name: upsert_credential(owner, name, key_id, sealed, last_four, base_url)!
insert into credential (owner, name, key_id, sealed, last_four, base_url)
values (:owner, :name, :key_id, :sealed, :last_four, :base_url)
on conflict (owner, name) do update
set key_id = excluded.key_id, sealed = excluded.sealed, last_four = excluded.last_four, base_url = excluded.base_url,
    created_at = clock_timestamp();

-- name: find_credential(owner, name)^
select key_id, sealed, last_four, base_url, created_at from credential where owner = :owner and name = :name;

-- name: credentials_of(owner)
select name, key_id, sealed, last_four, base_url, created_at from credential where owner = :owner order by name;

-- name: count_others(owner, name)$
select count(*) from credential where owner = :owner and name <> :name;

-- name: delete_credential(owner, name)^
delete from credential where owner = :owner and name = :name returning last_four, base_url;
