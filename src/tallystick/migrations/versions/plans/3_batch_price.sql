-- Units that are not one for each claim of their hold: whose would the next ones be?
create function refuse_units(p_hold uuid, p_count bigint) returns bigint language plpgsql as $$
begin
    raise exception 'hold % does not have % claims', p_hold, p_count using errcode = 'invalid_parameter_value';
end
$$;

-- End holds with claims as far as their claims go: what was really used of each, what that costs beyond the allowances,
-- and the counters made right. See post_batch; batch_end then does what is left, the money.
create function batch_price(
    p_ids uuid[], p_accounts bigint[], p_actuals bigint[],
    -- For each hold where in `p_units` it stands how many its units are, and after that the units, one for each claim;
    -- 0: as claimed; null: not asked for here.
    p_unit_starts integer[], p_units bigint[],
    -- As they came, with the overage added; and which holds those are: null where it was not asked for.
    out actuals bigint[], out overages bigint[], out priced boolean[],
    -- What each of those holds had set aside, and with the first of a counter what that has and needs no more.
    out freed bigint[]
) language plpgsql as $$
declare
    v_back record;
    v_places integer[];
    v_overages bigint[];
    v_amounts bigint[];
    v_free_places integer[];
    v_free bigint[];
begin
    -- Uses of features that were counted at once, or whose request came to nothing, leave their windows.
    for v_back in
        select
            hold.account, claim.meter, min(hold.created_at) as since, array_agg(hold.id) as holds,
            array_agg(hold.id) filter (where hold.state = 'settled') as counted
        from unnest(p_ids, p_accounts, p_actuals, p_unit_starts) as item (id, account, actual, unit_start)
        join lateral (
            select * from hold where hold.id = item.id and hold.account = item.account limit 1
        ) as hold on true
        cross join lateral unnest(hold.claims) as claim
        where item.actual is null and item.unit_start is not null and claim.starts_at is null
            and (hold.state = 'open' or hold.state = 'settled' and hold.created_at = hold.expires_at)
        group by hold.account, claim.meter
        order by hold.account, claim.meter
    loop
        perform give_back_uses(v_back.account, v_back.meter, v_back.holds, v_back.since);
        if v_back.counted is not null then
            update hold set state = 'released', actual = null
            where hold.id = any(v_back.counted) and hold.state = 'settled';
        end if;
    end loop;

    with ending as materialized (
        select item.place::integer, hold.id, hold.account, hold.amount, hold.claims, item.actual, item.unit_start
        from unnest(p_ids, p_accounts, p_actuals, p_unit_starts) with ordinality
            as item (id, account, actual, unit_start, place)
        join lateral (
            select * from hold where hold.id = item.id and hold.account = item.account and hold.state = 'open' limit 1
        ) as hold on true
        where item.unit_start is not null and hold.claims is not null
    ),
    claim as materialized (
        select
            ending.place, ending.id, ending.account, ending.amount, ending.actual, item.number, item.meter,
            item.starts_at, item.units, item.allowance, item.price, item.per, item.charge as aside,
            case
                when ending.actual is null then 0
                when ending.unit_start = 0 or item.starts_at is null then item.units
                when p_units[ending.unit_start] = cardinality(ending.claims)
                    then p_units[ending.unit_start + item.number::integer]
                else refuse_units(ending.id, p_units[ending.unit_start])
            end as used
        from ending
        cross join lateral unnest(ending.claims) with ordinality
            as item (meter, starts_at, units, used, allowance, price, per, charge, number)
    ),
    counted as (
        select
            claim.*, counter.used as before, counter.held, counter.pending, counter.mixed,
            (counter.used + sum(claim.used) over (
                partition by claim.account, claim.meter, claim.starts_at order by place, number
            ))::bigint as after
        from claim
        left join lateral (
            select one.* from meter_counter as one
            where one.account = claim.account and one.meter = claim.meter and one.starts_at = claim.starts_at
            limit 1
        ) as counter on true
    ),
    charged as materialized (
        select
            counted.*,
            coalesce(
                price_of(after - allowance, price, per) - price_of(after - used - allowance, price, per), 0
            ) as charge
        from counted
    ),
    turned as materialized (
        select
            account, meter, starts_at, min(place) as place, sum(used)::bigint as used, sum(units)::bigint as units,
            pending - case
                when not mixed then least(
                    pending,
                    price_of((before + held + sum(used) - sum(units))::bigint - min(allowance), min(price), min(per))
                    - price_of((before + sum(used))::bigint - min(allowance), min(price), min(per))
                )
                when held > sum(units) then greatest(0, pending - sum(aside)::bigint)
                else 0
            end as freed,
            mixed and held > sum(units) as mixed
        from charged
        where starts_at is not null
        group by account, meter, starts_at, before, held, pending, mixed
    ),
    list as materialized (
        select
            place, id, amount, actual, sum(charge)::bigint as overage,
            array_agg((meter, starts_at, units, used, allowance, price, per, charge)::claim order by number) as claims
        from charged
        group by place, id, amount, actual
    ),
    ended as (
        update hold
        set claims = list.claims, actual = list.actual + list.overage,
            state = case when list.actual is null then 'released'::hold_state else 'settled' end
        from list
        where hold.id = list.id
    ),
    metered as (
        update meter_counter as counter
        set used = counter.used + turned.used, held = counter.held - turned.units,
            pending = counter.pending - turned.freed, mixed = turned.mixed
        from turned
        where counter.account = turned.account and counter.meter = turned.meter
            and counter.starts_at = turned.starts_at
    )
    select
        (select array_agg(list.place) from list), (select array_agg(list.overage) from list),
        (select array_agg(list.amount) from list), array_agg(turned.place), array_agg(turned.freed)
    into v_places, v_overages, v_amounts, v_free_places, v_free
    from turned
    where turned.freed > 0;

    -- One by one: as a join of two lists without an index it would look at every pair.
    actuals := p_actuals;
    overages := array_fill(0::bigint, array[cardinality(p_ids)]);
    priced := array(
        select case when unit_start is not null then false end
        from unnest(p_unit_starts) with ordinality as item (unit_start, place) order by place
    );
    freed := array_fill(0::bigint, array[cardinality(p_ids)]);
    for v_n in 1..coalesce(cardinality(v_free), 0) loop
        freed[v_free_places[v_n]] := freed[v_free_places[v_n]] + v_free[v_n];
    end loop;
    for v_n in 1..coalesce(cardinality(v_places), 0) loop
        overages[v_places[v_n]] := v_overages[v_n];
        priced[v_places[v_n]] := true;
        if v_amounts[v_n] > 0 then
            freed[v_places[v_n]] := freed[v_places[v_n]] + v_amounts[v_n];
        end if;
        if v_overages[v_n] > 0 then
            actuals[v_places[v_n]] := actuals[v_places[v_n]] + v_overages[v_n];
        end if;
    end loop;
    if cardinality(v_places) = (select count(unit_start) from unnest(p_unit_starts) as unit_start) then
        return;
    end if;

    -- Settled before: what that came to, where it was the same; what nothing was ever settled with, where it was not.
    for v_back in
        select
            item.place, (
                select sum(claim.charge)::bigint from unnest(hold.claims) as claim
            ) as overage, (
                select bool_and(claim.used = case
                    when item.unit_start = 0 or claim.starts_at is null then claim.units
                    when p_units[item.unit_start] = cardinality(hold.claims)
                        then p_units[item.unit_start + claim.number::integer]
                    else -1
                end)
                from unnest(hold.claims) with ordinality
                    as claim (meter, starts_at, units, used, allowance, price, per, charge, number)
            ) as same
        from unnest(p_ids, p_accounts, p_actuals, p_unit_starts, priced) with ordinality
            as item (id, account, actual, unit_start, priced, place)
        join lateral (
            select hold.claims from hold
            where hold.id = item.id and hold.account = item.account and hold.state = 'settled' limit 1
        ) as hold on true
        where not item.priced and item.unit_start is not null and item.actual is not null and hold.claims is not null
    loop
        actuals[v_back.place] := case when v_back.same then actuals[v_back.place] + v_back.overage else -1 end;
        overages[v_back.place] := v_back.overage;
    end loop;
end
$$;
