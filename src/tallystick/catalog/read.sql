-- name: versions
-- What was in force at :since or takes effect later, of every name: all that a Book needs from then on.
select id, kind, name, effective_from, document, retired, source, published_at
from catalog_entry
where effective_from > :since
union all
select * from (
    select distinct on (kind, name) id, kind, name, effective_from, document, retired, source, published_at
    from catalog_entry
    where effective_from <= :since
    order by kind, name, effective_from desc, id desc
) in_force;

-- name: version^
select id, kind, name, effective_from, document, retired, source, published_at
from catalog_entry
where id = :id;

-- name: history
-- Every version of one name, the newest first.
select id, kind, name, effective_from, document, retired, source, published_at
from catalog_entry
where kind = :kind and name = :name
order by effective_from desc, id desc;

-- name: clock$
select clock_timestamp();
