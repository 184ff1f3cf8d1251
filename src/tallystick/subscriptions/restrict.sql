-- name: find$
select kind from restriction where organization = :organization;

-- name: lift!
delete from restriction where organization = :organization;

-- name: put!
insert into restriction (organization, kind) values (:organization, :kind)
on conflict (organization) do update set kind = excluded.kind, since = clock_timestamp();

-- name: moment$
select clock_timestamp();
