-- name: upsert_credential(owner, name, key_id, sealed)!
insert into credential (owner, name, key_id, sealed) values (:owner, :name, :key_id, :sealed)
on conflict (owner, name) do update
set key_id = excluded.key_id, sealed = excluded.sealed, created_at = clock_timestamp();

-- name: find_credential(owner, name)^
select key_id, sealed from credential where owner = :owner and name = :name;

-- name: credentials_of(owner)
select name, key_id, sealed from credential where owner = :owner order by name;

-- name: delete_credential(owner, name)$
delete from credential where owner = :owner and name = :name returning name;
