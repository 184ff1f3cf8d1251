-- name: documents
-- Whether each is older than the catalog comes from the same snapshot as the document.
select
    o.id as organization, o.state, c.document,
    c.organization is null or c.features_read < catalog.features or coalesce(c.plans_read < catalog.plans, false) as old
from organization as o
cross join catalog_read() as catalog
left join constraints as c on c.organization = o.id
where o.id = any(cast(:organizations as text[]));

-- name: document^
select o.state, c.document
from constraints as c
join organization as o on o.id = c.organization
where c.organization = :organization;
