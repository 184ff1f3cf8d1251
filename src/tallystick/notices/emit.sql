-- name: keep!
insert into notice (id, organization, type, key, data)
values (:id, :organization, :type, :key, :data)
on conflict (organization, key) do nothing;
