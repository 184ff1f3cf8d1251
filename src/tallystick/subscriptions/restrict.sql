-- name: find^
select kind, because from restriction where organization = :organization;

-- name: lift!
delete from restriction where organization = :organization;

-- name: put!
insert into restriction (organization, kind, because) values (:organization, :kind, :because)
on conflict (organization) do update set kind = excluded.kind, because = excluded.because, since = clock_timestamp();

-- name: moment$
select clock_timestamp();
