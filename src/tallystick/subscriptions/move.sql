-- name: on_older_versions
select subscription.organization from subscription
join catalog_entry on catalog_entry.id = subscription.plan_version
where subscription.ended_at is null and subscription.plan_version <> :newest
    and catalog_entry.kind = 'plan' and catalog_entry.name = :slug
    and subscription.organization > :after
order by subscription.organization
limit :row_limit;
