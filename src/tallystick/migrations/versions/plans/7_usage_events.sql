-- Usage that products without our gateway report: what happened, once each, and what it came to in a billing period.

-- The register that makes an event happen once, which a table partitioned by time cannot promise. `digest` is the
-- SHA-256 of all that the caller said of the event.
create table usage_event_register (
    account bigint not null,
    id text not null,
    digest bytea not null,
    -- Finds the event itself.
    at timestamptz not null,
    primary key (account, id)
);

create table usage_event (
    account bigint not null,
    id text not null,                 -- the caller's
    at timestamptz not null,          -- the time that counts: of the event, or of its arrival where it came too late
    told_at timestamptz,              -- the time the caller gave
    recorded_at timestamptz not null,
    starts_at timestamptz not null,   -- the billing period it counts in
    ends_at timestamptz not null,
    late boolean not null,            -- came when the period it happened in was closed
    meter text not null,
    quantity bigint,                  -- null where the meter counts events or values
    value text,                       -- what a meter of unique values counted
    increase bigint not null,         -- by how much the event raised the meter's total of its period: these add up
    over_cap boolean not null,        -- beyond what the plan admits; it has happened all the same
    charge bigint not null,           -- nanocredits, for units beyond the allowance
    hold uuid,                        -- what claimed and charged it, where its meter has a limit or a price
    api_key text,
    model text,
    session text,
    properties jsonb,
    check (increase >= 0 and charge >= 0 and at >= starts_at and at < ends_at)
) partition by range (at);
create table usage_event_default partition of usage_event default;
-- All that a report reads, so that it reads nothing else.
create index usage_event_report on usage_event (account, at, id) include (meter, increase, charge, api_key, model);
-- Whether a value was seen in its period.
create index usage_event_value on usage_event (account, meter, starts_at, value)
where value is not null and increase > 0;

-- One row for each period of a meter of maxima or of unique values: the lock behind which increases are exact, and the
-- highest quantity so far. Counts and sums need neither.
create table usage_peak (
    account bigint not null,
    meter text not null,
    starts_at timestamptz not null,
    highest bigint not null default 0,
    primary key (account, meter, starts_at)
) with (fillfactor = 70);

select make_append_only(name::regclass)
from unnest(array['usage_event_register', 'usage_event', 'usage_event_default']) as name;

-- As before, for every append-only table that is partitioned by time.
create or replace function ensure_partitions(p_months_ahead integer) returns integer language plpgsql as $$
declare
    v_parent text;
    v_from timestamptz;
    v_to timestamptz;
    v_name text;
    v_stray boolean;
    v_made integer := 0;
begin
    perform pg_advisory_xact_lock(31250);
    for v_parent in
        select relname from pg_partitioned_table
        join pg_class on pg_class.oid = partrelid
        where exists (select from pg_trigger where tgrelid = partrelid and tgname = 'append_only')
        order by relname
    loop
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

-- An event as it is brought to record_usage_events; the last five only where its meter has a limit or a price.
create type usage_event_entry as (
    account bigint,
    id text,
    digest bytea,
    at timestamptz,
    told_at timestamptz,
    starts_at timestamptz,
    ends_at timestamptz,
    late boolean,
    meter text,
    aggregation text,
    quantity bigint,
    value text,
    api_key text,
    model text,
    session text,
    properties jsonb,
    hold uuid,                        -- the same for all of an account in one call; in the order of time
    allowance bigint,
    cap bigint,
    price bigint,
    per bigint
);

-- Record events once each, in the order given. `outcome`: recorded; repeated (the same event was there); conflict (its
-- id was there with other content, of which nothing is told). What has happened is never refused: units beyond a cap are
-- flagged, and money that the account does not have is receivable, as at the end of a hold.
create function record_usage_events(p_events usage_event_entry[])
returns table (
    place bigint, outcome text, at timestamptz, starts_at timestamptz, ends_at timestamptz, late boolean,
    increase bigint, over_cap boolean, charge bigint
) language plpgsql
-- One plan for every batch: the events are few, the tables are not, and no table is ever to be scanned.
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_lanes bigint;
    v_fresh bigint[];
    -- By how much each event raises its total; -1 for one that is not new. No nulls: an element is then found at once.
    v_increases bigint[];
    v_claiming bigint[];
    v_peak record;
begin
    -- A snapshot older than a lock would not see what the lock's last holder wrote.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'usage events need READ COMMITTED' using errcode = 'invalid_transaction_state';
    end if;

    -- Everybody takes these locks in one order: rows of the register, peaks, lanes, each of them sorted.
    with first as materialized (
        select distinct on (event.account, event.id) event.account, event.id, event.digest, event.at, event.ordinality
        from unnest(p_events) with ordinality as event
        order by event.account, event.id, event.ordinality
    ),
    registered as (
        insert into usage_event_register (account, id, digest, at)
        select first.account, first.id, first.digest, first.at from first order by first.account, first.id
        on conflict do nothing
        returning account, id
    )
    select coalesce(array_agg(first.ordinality), '{}') into v_fresh
    from first
    where ((first.account, first.id) in (select registered.account, registered.id from registered)) is true;

    insert into usage_peak (account, meter, starts_at)
    select distinct event.account, event.meter, event.starts_at
    from unnest(p_events) with ordinality as event
    where event.aggregation in ('max', 'unique') and event.ordinality = any(v_fresh)
    order by 1, 2, 3
    on conflict do nothing;
    for v_peak in
        select distinct event.account, event.meter, event.starts_at
        from unnest(p_events) with ordinality as event
        where event.aggregation in ('max', 'unique') and event.ordinality = any(v_fresh)
        order by 1, 2, 3
    loop
        perform from usage_peak as peak
        where peak.account = v_peak.account and peak.meter = v_peak.meter and peak.starts_at = v_peak.starts_at
        for update;
    end loop;

    with counted as (
        select
            event.ordinality,
            case
                when (event.ordinality = any(v_fresh)) is not true then -1
                when event.aggregation = 'count' then 1
                when event.aggregation = 'sum' then event.quantity
                when event.aggregation = 'max' then greatest(0, event.quantity - greatest(
                    (
                        select peak.highest from usage_peak as peak
                        where peak.account = event.account and peak.meter = event.meter
                            and peak.starts_at = event.starts_at
                    ),
                    max(event.quantity) filter (where event.ordinality = any(v_fresh)) over (
                        partition by event.account, event.meter, event.starts_at order by event.ordinality
                        rows between unbounded preceding and 1 preceding
                    )
                ))
                when event.aggregation = 'unique' then case
                    when 1 < count(*) filter (where event.ordinality = any(v_fresh)) over (
                        partition by event.account, event.meter, event.starts_at, event.value order by event.ordinality
                    ) then 0
                    -- One look at the index for each: not an EXISTS, which may become a scan of the whole period.
                    when (
                        select true from usage_event as seen
                        where seen.account = event.account and seen.meter = event.meter
                            and seen.starts_at = event.starts_at and seen.value = event.value and seen.increase > 0
                            and seen.at >= event.starts_at and seen.at < event.ends_at
                        limit 1
                    ) then 0
                    else 1
                end
            end as increase
        from unnest(p_events) with ordinality as event
    )
    select array_agg(counted.increase order by counted.ordinality) into v_increases from counted;

    update usage_peak as peak
    set highest = event.highest
    from (
        select event.account, event.meter, event.starts_at, max(event.quantity) as highest
        from unnest(p_events) with ordinality as event
        where event.aggregation = 'max' and v_increases[event.ordinality] > 0
        group by event.account, event.meter, event.starts_at
    ) as event
    where peak.account = event.account and peak.meter = event.meter and peak.starts_at = event.starts_at;

    select array_agg(distinct event.account) into v_claiming
    from unnest(p_events) with ordinality as event
    where event.hold is not null and v_increases[event.ordinality] >= 0;
    if v_claiming is not null then
        perform lock_lanes(v_claiming);
        insert into meter_counter (account, meter, starts_at, ends_at)
        select distinct on (event.account, event.meter, event.starts_at)
            event.account, event.meter, event.starts_at, event.ends_at
        from unnest(p_events) with ordinality as event
        where event.hold is not null and v_increases[event.ordinality] >= 0
        order by event.account, event.meter, event.starts_at
        on conflict do nothing;
    end if;
    -- By the clock after the lock, as every hold of a lane.
    v_now := clock_timestamp();
    v_lanes := (select lanes from ledger_layout);

    with used as materialized (
        select
            event.*, v_increases[event.ordinality] as increase,
            case when event.hold is not null then counter.used + sum(v_increases[event.ordinality]) over (
                partition by event.account, event.meter, event.starts_at order by event.ordinality
            ) end::bigint as used
        from unnest(p_events) with ordinality as event
        left join meter_counter as counter on event.hold is not null and counter.account = event.account
            and counter.meter = event.meter and counter.starts_at = event.starts_at
        where v_increases[event.ordinality] >= 0
    ),
    -- The difference of two exact totals: a period's charges add up to the exact one, whatever came in which order.
    priced as materialized (
        select
            used.*, (used.increase > 0 and used.used > used.cap) is true as over_cap,
            case when used.hold is null then 0 else
                price_of(used.used - used.allowance, used.price, used.per)
                - price_of(used.used - used.increase - used.allowance, used.price, used.per)
            end as charge
        from used
    ),
    recorded as (
        insert into usage_event (
            account, id, at, told_at, recorded_at, starts_at, ends_at, late, meter, quantity, value, increase, over_cap,
            charge, hold, api_key, model, session, properties
        )
        select
            account, id, at, told_at, v_now, starts_at, ends_at, late, meter, quantity, value, increase, over_cap,
            charge, case when increase > 0 then hold end, api_key, model, session, properties
        from priced
        order by ordinality
    ),
    claimed as materialized (
        select
            hold, account, meter, starts_at, sum(increase)::bigint as units, max(allowance) as allowance,
            max(price) as price, max(per) as per, sum(charge)::bigint as charge
        from priced
        where hold is not null and increase > 0
        group by hold, account, meter, starts_at
    ),
    counters as (
        update meter_counter as counter
        set used = counter.used + claimed.units
        from claimed
        where counter.account = claimed.account and counter.meter = claimed.meter
            and counter.starts_at = claimed.starts_at
    ),
    share as materialized (
        select
            owed.hold, owed.account, owed.claims, owed.charge,
            least(owed.charge, greatest(0, a.posted - a.held - a.floor))::bigint as paid
        from (
            select
                hold, account, sum(charge)::bigint as charge,
                array_agg(
                    (meter, starts_at, units, units, allowance, price, per, charge)::claim order by meter, starts_at
                ) as claims
            from claimed
            group by hold, account
        ) as owed
        join ledger_account as a on a.id = owed.account
    ),
    held as (
        insert into hold (id, account, amount, actual, state, created_at, expires_at, claims)
        select hold, account, charge, charge, 'settled', v_now, v_now, claims from share
    ),
    moved as (
        insert into transfer (at, debit, credit, amount, kind, operation)
        select v_now, account, 1 * 64 + account % v_lanes, paid, 'usage'::transfer_kind, hold
        from share where paid > 0
        union all
        select v_now, 6 * 64 + account % v_lanes, 1 * 64 + account % v_lanes, charge - paid, 'shortfall', hold
        from share where charge > paid
    )
    update ledger_account as a
    set posted = a.posted + net.change
    from (
        select account, sum(change)::bigint as change
        from (
            select account, -paid as change from share
            union all select 1 * 64 + account % v_lanes, charge from share
            union all select 6 * 64 + account % v_lanes, paid - charge from share
        ) as entry
        group by account
    ) as net
    where a.id = net.account and net.change <> 0;

    return query
    select
        event.ordinality,
        case
            when v_increases[event.ordinality] >= 0 then 'recorded'
            when register.digest = event.digest then 'repeated'
            else 'conflict'
        end,
        found.at, found.starts_at, found.ends_at, found.late, found.increase, found.over_cap, found.charge
    from unnest(p_events) with ordinality as event
    join usage_event_register as register on register.account = event.account and register.id = event.id
    left join usage_event as found on found.account = register.account and found.id = register.id
        and found.at = register.at and register.digest = event.digest
    order by event.ordinality;
end
$$;
