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
