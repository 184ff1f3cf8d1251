-- Monthly partitions, made ahead. The default partition takes what no month was made for, so that nothing ever fails.
create table transfer_default partition of transfer default;
create table usage_record_default partition of usage_record default;

-- History only grows: refused for everyone, the owner of the tables included.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op) using errcode = 'restrict_violation';
end
$$;

create function make_append_only(p_table regclass) returns void language plpgsql as $$
begin
    -- Partitions inherit the row trigger of their parent, but neither the one on truncate nor the grants.
    if not (select relispartition from pg_class where oid = p_table) then
        execute format(
            'create trigger append_only before update or delete on %s for each row execute function refuse_change()',
            p_table
        );
    end if;
    execute format(
        'create trigger append_only_truncate before truncate on %s for each statement execute function refuse_change()',
        p_table
    );
    execute format('revoke update, delete, truncate on %s from public, current_user', p_table);
end
$$;

select make_append_only(name::regclass)
from unnest(array[
    'transfer', 'transfer_default', 'usage_record', 'usage_record_default', 'ledger_block', 'operation', 'catalog_entry'
]) as name;

-- Make the partitions of this month and the `p_months_ahead` after it; returns how many were missing.
create function ensure_partitions(p_months_ahead integer) returns integer language plpgsql as $$
declare
    v_parent text;
    v_from timestamptz;
    v_to timestamptz;
    v_name text;
    v_stray boolean;
    v_made integer := 0;
begin
    perform pg_advisory_xact_lock(31250);
    foreach v_parent in array array['transfer', 'usage_record'] loop
        for v_month in 0..p_months_ahead loop
            v_from := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => v_month)) at time zone 'UTC';
            v_to := (v_from at time zone 'UTC' + interval '1 month') at time zone 'UTC';
            v_name := v_parent || to_char(v_from at time zone 'UTC', '"_"YYYY"_"MM');
            continue when to_regclass(v_name) is not null;
            -- Rows already in the default partition stay there, and their month with them.
            execute format('select exists (select from %I where at >= %L and at < %L)', v_parent || '_default', v_from, v_to)
            into v_stray;
            continue when v_stray;
            execute format('create table %I partition of %I for values from (%L) to (%L)', v_name, v_parent, v_from, v_to);
            perform make_append_only(v_name::regclass);
            v_made := v_made + 1;
        end loop;
    end loop;
    return v_made;
end
$$;

select ensure_partitions(3);
