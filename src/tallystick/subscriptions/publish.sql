-- name: is_old$
-- A missing document is old too.
select not exists (
    select from constraints
    where organization = :organization and features_read >= :features::bigint
        and (plans_read is null or plans_read >= :plans::bigint)
);

-- name: is_any_old$
-- Two looks at the ends of two indexes, however many organizations there are.
select
    coalesce((select min(features_read) from constraints) < features, false)
    or coalesce((select min(plans_read) from constraints where plans_read is not null) < plans, false)
from catalog_read();

-- name: old
-- Each half has an index of its own.
select organization from constraints
where (features_read < :features::bigint or plans_read < :plans::bigint) and organization > :after
order by organization
limit :row_limit;

-- name: compiled_from^
-- All that is the organization's own; the rest comes from the catalog.
select
    o.account, o.created_at, coalesce(c.version, 0) as version, c.document, agreed.quotas, agreed.rates,
    agreed.credit_limit, agreed.metered_enabled, restriction.kind as restriction,
    restriction.because
from organization as o
left join constraints as c on c.organization = o.id
left join organization_override as agreed on agreed.organization = o.id
left join restriction on restriction.organization = o.id
where o.id = :organization;

-- name: store!
insert into constraints (organization, version, document, features_read, plans_read, floor_debt)
values (:organization, :version, :document, :features_read, :plans_read, :floor_debt)
on conflict (organization) do update set
    version = excluded.version, document = excluded.document, features_read = excluded.features_read,
    plans_read = excluded.plans_read, floor_debt = excluded.floor_debt, compiled_at = clock_timestamp();

-- name: announce!
select announce('constraints', :organization);

-- name: deep
-- Only where something was paid since: who goes on owing the same costs nobody a lock.
select c.organization
from constraints as c
join organization as o on o.id = c.organization
join ledger_account as a on a.id = o.account
where c.floor_debt > 0 and a.posted - a.held > a.floor and c.organization > :after
order by c.organization
limit :row_limit;

-- name: wanted_floor^
select
    cast(document ->> 'account' as bigint) as account, cast(document ->> 'credit_limit' as bigint) as credit_limit,
    cast(document ->> 'overdraft' as bigint) as overdraft
from constraints
where organization = :organization;

-- name: keep_floor_debt!
update constraints set floor_debt = :floor_debt where organization = :organization and floor_debt <> :floor_debt;
