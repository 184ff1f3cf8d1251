-- End holds with claims as far as their claims go, as the function of this name that takes columns does, of which see
-- what each answer is. Accounts whose holds here are open, with one claim each, of a meter whose counter is at the price
-- they were admitted at, have a short way, in one statement; what is left, that function ends.
create function batch_price(
    p_ends end_entry[],
    out actuals bigint[], out overages bigint[], out priced boolean[], out freed bigint[]
) language plpgsql as $$
declare
    v_count integer := cardinality(p_ends);
    v_short boolean[];
    -- Places of what is left; null is all.
    v_left integer[];
    v_missed bigint;
    v_answer record;
begin
    if v_count = 0 then
        actuals := '{}';
        overages := '{}';
        priced := '{}';
        freed := '{}';
        return;
    end if;
    with found as (
        select
            ask.place, ask.account, ask.actual, ask.units as told, ask.units is null as plain,
            hold.ctid as hold, hold.amount, hold.claims[1] as claim, cardinality(hold.claims) as claims
        from unnest(p_ends) with ordinality as ask (id, account, actual, units, place)
        -- Outer joins, so that they are never planned from all the holds or counters there are.
        left join hold
            on ask.units is not null and hold.id = ask.id and hold.account = ask.account and hold.state = 'open'
        -- Not merged into what reads it: the claim is then taken out of its array once.
        offset 0
    ),
    item as (
        select
            found.place, found.account, found.actual, found.plain, found.hold, found.amount,
            (found.claim).meter, (found.claim).starts_at, (found.claim).units,
            (found.claim).allowance, (found.claim).price, (found.claim).per,
            counter.ctid as counter, counter.used as before, counter.held, counter.pending,
            found.claims = 1 and cardinality(found.told) < 2 and not counter.mixed
                and counter.allowance = (found.claim).allowance and counter.price = (found.claim).price
                and counter.per = (found.claim).per as usual,
            case
                when found.actual is null then 0
                when cardinality(found.told) = 0 then (found.claim).units
                else found.told[1]
            end as used
        from found
        left join meter_counter as counter
            on counter.account = found.account and counter.meter = (found.claim).meter
                and counter.starts_at = (found.claim).starts_at
        offset 0
    ),
    summed as (
        select
            item.*,
            before + small_sum(least(used, 1000000000000000)) over in_order as after,
            small_sum(least(used, 1000000000000000)) over in_all as used_in_all,
            small_sum(least(units, 1000000000000000)) over in_all as units_in_all,
            row_number() over in_order = 1 as first
        from item
        window in_order as (partition by counter order by place), in_all as (partition by counter)
    ),
    charged as (
        select
            summed.*,
            price_of(after - allowance, price, per) - price_of(after - used - allowance, price, per) as charge,
            case
                when not first or pending = 0 then 0
                else pending - least(
                    pending,
                    price_of(before + held + used_in_all - units_in_all - allowance, price, per)
                        - price_of(before + used_in_all - allowance, price, per)
                )
            end as spare
        from summed
        offset 0
    ),
    decided as materialized (
        select
            -- Whatever is larger was summed up where nothing can overflow.
            bool_and((
                plain or usual and used between 0 and 1000000000000000 and units between 0 and 1000000000000000
            ) is true) over (partition by account) as short,
            plain, first and not plain as first, place,
            case when plain then 0 else charge end as overage, case when plain then 0 else amount + spare end as freed,
            actual is null as released, hold, counter, used_in_all, units_in_all, spare,
            case when plain then actual else actual + charge end as actual,
            case
                when not plain then array[row(meter, starts_at, units, used, allowance, price, per, charge)::claim]
            end as claims
        from charged
    ),
    -- The rows are where they were read: only who has the lane writes them, which is seen to below.
    ended as (
        update hold
        set claims = decided.claims, actual = decided.actual,
            state = case when decided.released then 'released'::hold_state else 'settled' end
        from decided
        where hold.ctid = decided.hold and not decided.plain and decided.short
        returning true
    ),
    metered as (
        update meter_counter as counter
        set used = counter.used + decided.used_in_all, held = counter.held - decided.units_in_all,
            pending = counter.pending - decided.spare
        from decided
        where counter.ctid = decided.counter and decided.first and decided.short
        returning true
    )
    select
        array_agg(answer.actual), array_agg(answer.overage), array_agg(answer.priced), array_agg(answer.freed),
        array_agg(answer.short),
        count(*) filter (where short and not plain) - (select count(*) from ended)
            + count(*) filter (where short and first) - (select count(*) from metered)
    into actuals, overages, priced, freed, v_short, v_missed
    from (
        select actual, overage, case when not plain then true end as priced, decided.freed, short, plain, first
        from decided
        order by place
    ) as answer;
    if v_missed <> 0 then
        raise exception 'holds or counters of this lane are written without it'
            using errcode = 'serialization_failure';
    end if;
    if true = any(v_short) then
        select array_agg(place order by place) into v_left
        from generate_subscripts(v_short, 1) as place where not v_short[place];
        if v_left is null then
            return;
        end if;
    end if;

    select answer.* into v_answer
    from (
        select
            array_agg(ask.id order by ask.place) as ids, array_agg(ask.account order by ask.place) as accounts,
            array_agg(ask.actual order by ask.place) as actuals, array_agg(ask.start order by ask.place) as starts
        from (
            select
                item.*,
                -- Where its count stands, after all the counts and units before it.
                case
                    when item.units = '{}' then 0
                    else (
                        sum(1 + cardinality(nullif(item.units, '{}'))) over (order by item.place)
                        - cardinality(item.units)
                    )::integer
                end as start
            from unnest(p_ends) with ordinality as item (id, account, actual, units, place)
            where v_left is null or item.place = any(v_left)
        ) as ask
    ) as ask
    cross join (
        select coalesce(array_agg(told.unit order by item.place, told.number), '{}') as units
        from unnest(p_ends) with ordinality as item (id, account, actual, units, place)
        cross join lateral unnest(cardinality(item.units)::bigint || item.units) with ordinality as told (unit, number)
        where item.units <> '{}' and (v_left is null or item.place = any(v_left))
    ) as told
    cross join lateral batch_price(ask.ids, ask.accounts, ask.actuals, ask.starts, told.units) as answer;
    if v_left is null then
        actuals := v_answer.actuals;
        overages := v_answer.overages;
        priced := v_answer.priced;
        freed := v_answer.freed;
        return;
    end if;
    for v_n in 1..cardinality(v_left) loop
        actuals[v_left[v_n]] := v_answer.actuals[v_n];
        overages[v_left[v_n]] := v_answer.overages[v_n];
        priced[v_left[v_n]] := v_answer.priced[v_n];
        freed[v_left[v_n]] := v_answer.freed[v_n];
    end loop;
end
$$;
