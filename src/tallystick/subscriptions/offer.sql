-- name: counted^
select coalesce(:at::timestamptz, clock_timestamp()) as at, features, plans from catalog_read();

-- name: offered
-- What was in force at :since or takes effect later, as for a whole Book.
select id, kind, name, effective_from, document, retired, source
from catalog_entry
where kind in ('plan', 'feature') and effective_from > :since
union all
select * from (
    select distinct on (kind, name) id, kind, name, effective_from, document, retired, source
    from catalog_entry
    where kind in ('plan', 'feature') and effective_from <= :since
    order by kind, name, effective_from desc, id desc
) in_force;
