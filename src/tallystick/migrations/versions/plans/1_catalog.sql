-- Batches take their lane before anything else. While they wait here, none stands between two tables of ours, so that
-- neither waits for the other. What else holds a table is given up on after a while, and tried again: nobody may wait
-- behind us for as long as that takes.
select count(pg_advisory_xact_lock(31249, lane)) from generate_series(0, 63) as lane;

-- Plans, meters and features are published like prices.
alter table catalog_entry drop constraint catalog_entry_kind_check;
alter table catalog_entry add constraint catalog_entry_kind_check check (
    kind in ('provider', 'cost_profile', 'price', 'route', 'pack', 'plan', 'meter', 'feature')
) not valid;
alter table catalog_entry validate constraint catalog_entry_kind_check;

alter table change drop constraint change_kind_check;
alter table change add constraint change_kind_check check (
    kind in ('api_key', 'session', 'catalog', 'organization', 'constraints')
);
