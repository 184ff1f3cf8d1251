-- Place holds that claims limit: a hold, the money it can cost and all its claims, or nothing. See post_batch.
--
-- Decided from the counters as they stand and what the batch asks for, in its order. An account whose whole batch fits
-- is written at once; who would be refused even alone is refused at once; the rest, at the very edge of a limit, is
-- decided one by one. The answers stand in the order of the requests, those about claims in the order of the claims.
create function batch_admit(
    p_now timestamptz, p_ids uuid[], p_accounts bigint[], p_amounts bigint[], p_expires_in_s integer[],
    -- No dispatcher is the nil uuid. A counted hold ends at once: its claims, all of features, count from now on.
    p_dispatchers uuid[], p_counted boolean[],
    -- The claims of each request stand together, in the order of the requests, and every request has one.
    p_claim_places integer[], p_claim_meters text[], p_claim_starts timestamptz[], p_claim_ends timestamptz[],
    p_claim_units bigint[], p_claim_allowances bigint[], p_claim_caps bigint[], p_claim_prices bigint[],
    p_claim_pers bigint[],
    -- admitted, repeated, conflict, ended, no_account, insufficient, limit (the claim of that number does not fit) or
    -- period (the claim of that number is of a period which, by the database's clock, is not now).
    out codes text[], out amounts bigint[], out layers layer[], out availables bigint[],
    out refused integer[], out retry_at timestamptz[],
    -- What stands on each claim's counter: with the request where it was admitted, without it where it was refused.
    out taken bigint[]
) language plpgsql as $$
declare
    v_left integer[];
    v_known boolean;
begin
    -- Looked up one by one: as a join it could be planned the other way round, over all the holds there are.
    v_known := exists (
        select from unnest(p_ids) as item (id) where (select true from hold where hold.id = item.id limit 1)
    );
    if v_known then
        if cardinality(p_ids) = 1 then
            codes := array[batch_admit_again(
                p_ids[1], p_accounts[1], p_amounts[1], p_counted[1], p_claim_meters, p_claim_units
            )];
            select
                array[hold.amount + (select sum(claim.charge)::bigint from unnest(hold.claims) as claim)],
                array[hold.layer], array[a.posted - a.held - a.floor - a.overdraft],
                array[null::integer], array[null::timestamptz]
            into amounts, layers, availables, refused, retry_at
            from hold join ledger_account as a on a.id = hold.account where hold.id = p_ids[1];
            taken := batch_admit_taken(p_now, p_accounts[1], p_claim_meters, p_claim_starts);
            return;
        end if;
        codes := array_fill('left'::text, array[cardinality(p_ids)]);
    else
        with claim as materialized (
            select
                item.place, item.number::integer, p_accounts[item.place] as account, item.meter, item.starts_at,
                item.ends_at, item.units, item.allowance, item.cap, item.price, item.per,
                item.starts_at > p_now or item.ends_at <= p_now as elsewhen,
                coalesce(counter.used, 0) as used, coalesce(counter.pending, 0) as pending,
                -- Held at another price: what is admitted now neither changes nor pays for that.
                coalesce(
                    counter.held > 0 and (
                        counter.mixed
                        or (counter.allowance, counter.price, counter.per) <> (item.allowance, item.price, item.per)
                    ),
                    false
                ) as mixed,
                coalesce(
                    case
                        when item.starts_at is null then (
                            select counted.total - coalesce(
                                (
                                    select use.cumulative from feature_use as use
                                    where use.account = counted.account and use.feature = counted.feature
                                        and use.at <= p_now - interval '720 hours'
                                    order by use.at desc, use.cumulative desc
                                    limit 1
                                ),
                                counted.pruned
                            )
                            from feature_counter as counted
                            where counted.account = p_accounts[item.place] and counted.feature = item.meter
                        )
                        else counter.used + counter.held
                    end,
                    0
                ) as standing
            from unnest(
                p_claim_places, p_claim_meters, p_claim_starts, p_claim_ends, p_claim_units, p_claim_allowances,
                p_claim_caps, p_claim_prices, p_claim_pers
            ) with ordinality as item (place, meter, starts_at, ends_at, units, allowance, cap, price, per, number)
            left join lateral (
                select one.used, one.held, one.pending, one.mixed, one.allowance, one.price, one.per
                from meter_counter as one
                where one.account = p_accounts[item.place] and one.meter = item.meter and one.starts_at = item.starts_at
                limit 1
            ) as counter on true
        ),
        alone as (
            select
                claim.*,
                -- What is set aside already may not be what it should be, after more was used than was claimed: the
                -- next request that is admitted makes it right.
                case
                    when mixed then 0
                    else price_of(standing - allowance, price, per) - price_of(used - allowance, price, per) - pending
                end as lack,
                min(number) filter (where standing + units > cap) over per_place as over,
                min(number) filter (where elsewhen) over per_place as elsewhere
            from claim
            window per_place as (partition by place)
        ),
        together as (
            select
                alone.*,
                (standing + sum(case when over is null and elsewhere is null then units else 0 end) over in_order)::bigint
                    as after,
                over is null and elsewhere is null
                    and count(*) filter (where over is null and elsewhere is null) over in_order = 1 as first,
                -- Another price than the request before it: they cannot be decided together.
                lag((allowance, price, per), 1, (allowance, price, per)) over in_order <> (allowance, price, per) as other
            from alone
            window in_order as (partition by account, meter, starts_at order by place, number)
        ),
        priced as materialized (
            select
                together.*,
                price_of(standing + units - allowance, price, per) - price_of(standing - allowance, price, per) + lack as least,
                price_of(after - allowance, price, per) - price_of(after - units - allowance, price, per)
                    + case when first then lack else 0 end as most
            from together
        ),
        request as (
            select
                place, account, min(over) as over, min(elsewhere) as elsewhere, bool_or(after > cap or other) as crowded,
                p_amounts[place] + sum(least)::bigint as least, p_amounts[place] + sum(most)::bigint as most,
                p_counted[place] as counted,
                array_agg(
                    (
                        meter, starts_at, units, case when p_counted[place] then units end, allowance, price, per,
                        case when p_counted[place] then 0 else most end
                    )::claim
                    order by number
                ) as claims
            from priced
            group by place, account
        ),
        funded as (
            select
                request.*, a.known, a.spendable, a.free, a.backing,
                bool_or(crowded and over is null and elsewhere is null) over (partition by account) as contested,
                sum(case when over is null and elsewhere is null then most else 0 end) over (partition by account) as whole,
                sum(case when over is null and elsewhere is null then most else 0 end) over (
                    partition by account order by place
                ) as running
            from request
            left join lateral (
                select
                    true as known, a.posted - a.held as free, a.posted - a.held - a.floor - a.overdraft as spendable,
                    a.backing
                from ledger_account as a
                where a.id = request.account and a.id >= 1048576
            ) as a on true
        ),
        decided as materialized (
            select
                funded.*,
                case
                    when known is null then 'no_account'
                    when elsewhere is not null then 'period'
                    when over is not null then 'limit'
                    -- What its plan pays for is not refused for what a customer owes.
                    when least > 0 and least > spendable then 'insufficient'
                    when contested or whole > 0 and whole > spendable then 'left'
                    else 'admitted'
                end as code,
                case
                    when most <= 0 then 'included'::layer
                    when free - running >= backing then 'promotional'
                    when free - running >= 0 then 'purchased'
                    else 'overage'
                end as layer
            from funded
        ),
        placed as (
            insert into hold (id, account, amount, actual, state, created_at, expires_at, dispatcher, layer, claims)
            select
                p_ids[place], account, p_amounts[place], case when counted then 0 end,
                case when counted then 'settled'::hold_state else 'open' end, p_now,
                case when counted then p_now else p_now + make_interval(secs => p_expires_in_s[place]) end,
                nullif(p_dispatchers[place], '00000000-0000-0000-0000-000000000000'), layer, claims
            from decided
            where code = 'admitted'
        ),
        money as (
            update ledger_account as a
            set held = a.held + paid.amount
            from (
                select account, sum(most)::bigint as amount
                from decided
                where code = 'admitted' and most <> 0
                group by account
            ) as paid
            where a.id = paid.account
        ),
        taken_claim as materialized (
            select * from priced where (place in (select decided.place from decided where code = 'admitted')) is true
        ),
        need as materialized (
            select
                account, meter, starts_at, min(ends_at) as ends_at, sum(units)::bigint as units,
                min(allowance) as allowance, min(price) as price, min(per) as per, sum(most)::bigint as pending,
                bool_or(mixed) as mixed
            from taken_claim
            where starts_at is not null
            group by account, meter, starts_at
        ),
        metered as (
            update meter_counter as counter
            set held = counter.held + need.units, allowance = need.allowance, price = need.price, per = need.per,
                pending = counter.pending + need.pending, mixed = need.mixed
            from need
            where counter.account = need.account and counter.meter = need.meter
                and counter.starts_at = need.starts_at
            returning counter.account, counter.meter, counter.starts_at
        ),
        begun as (
            insert into meter_counter (account, meter, starts_at, ends_at, held, allowance, price, per, pending)
            select account, meter, starts_at, ends_at, units, allowance, price, per, pending
            from need
            where ((account, meter, starts_at) in (select metered.account, metered.meter, metered.starts_at from metered))
                is not true
        ),
        used as (
            insert into feature_use (account, feature, at, units, cumulative, hold)
            select
                account, meter, greatest(p_now, counter.last_at), units,
                coalesce(counter.total, 0) + sum(units) over (partition by account, meter order by place, number),
                p_ids[place]
            from taken_claim
            left join lateral (
                select one.total, one.last_at from feature_counter as one
                where one.account = taken_claim.account and one.feature = taken_claim.meter
                limit 1
            ) as counter on true
            where starts_at is null
        ),
        windows as (
            insert into feature_counter as counter (account, feature, total, last_at)
            select account, meter, sum(units)::bigint, p_now
            from taken_claim
            where starts_at is null
            group by account, meter
            order by account, meter
            on conflict (account, feature) do update
            set total = counter.total + excluded.total, last_at = greatest(counter.last_at, excluded.last_at)
        )
        select
            array_agg(code order by place), array_agg(most order by place), array_agg(layer order by place),
            array_agg(spendable order by place), array_agg(coalesce(elsewhere, over) order by place),
            (
                select array_agg(case when over is null and elsewhere is null then after else standing end order by number)
                from priced
            )
        into codes, amounts, layers, availables, refused, taken
        from decided;
    end if;

    if 'limit' = any(codes) then
        select array_agg(
            case
                when codes[place] <> 'limit' then null
                when p_claim_starts[refused[place]] is not null then p_claim_ends[refused[place]]
                else feature_free_at(
                    p_accounts[place], p_claim_meters[refused[place]], p_claim_units[refused[place]],
                    p_claim_caps[refused[place]], p_now
                )
            end
            order by place
        )
        into retry_at from generate_subscripts(codes, 1) as place;
    else
        retry_at := array_fill(null::timestamptz, array[cardinality(codes)]);
    end if;

    if 'left' = any(codes) then
        select array_agg(place order by p_accounts[place], place) into v_left
        from generate_subscripts(codes, 1) as place where codes[place] = 'left';
        declare
            v_place integer;
            v_first integer;
            v_last integer;
            v_one record;
            v_refused integer;
            v_refused_first integer;
            v_refused_last integer;
        begin
            if cardinality(p_ids) = 1 then
                raise exception 'a single request is admitted or refused';
            end if;
            foreach v_place in array v_left loop
                v_first := array_position(p_claim_places, v_place);
                v_last := v_first;
                while p_claim_places[v_last + 1] = v_place loop
                    v_last := v_last + 1;
                end loop;
                -- Nothing is given back in here: who asks for what the one before was refused is refused as well. Else
                -- a customer at the edge of a limit would keep everybody else of the lane waiting.
                if not v_known and p_accounts[v_place] = p_accounts[v_refused] and p_amounts[v_place] >= p_amounts[v_refused]
                    and p_claim_meters[v_first:v_last] = p_claim_meters[v_refused_first:v_refused_last]
                    and p_claim_starts[v_first:v_last] is not distinct from p_claim_starts[v_refused_first:v_refused_last]
                    and p_claim_units[v_first:v_last] = p_claim_units[v_refused_first:v_refused_last]
                    and p_claim_allowances[v_first:v_last] = p_claim_allowances[v_refused_first:v_refused_last]
                    and p_claim_caps[v_first:v_last] is not distinct from p_claim_caps[v_refused_first:v_refused_last]
                    and p_claim_prices[v_first:v_last] = p_claim_prices[v_refused_first:v_refused_last]
                    and p_claim_pers[v_first:v_last] = p_claim_pers[v_refused_first:v_refused_last]
                then
                    codes[v_place] := codes[v_refused];
                    availables[v_place] := availables[v_refused];
                    refused[v_place] := refused[v_refused] - v_refused_first + v_first;
                    retry_at[v_place] := retry_at[v_refused];
                    taken[v_first:v_last] := taken[v_refused_first:v_refused_last];
                    continue;
                end if;
                v_one := batch_admit(
                    p_now, p_ids[v_place:v_place], p_accounts[v_place:v_place], p_amounts[v_place:v_place],
                    p_expires_in_s[v_place:v_place], p_dispatchers[v_place:v_place], p_counted[v_place:v_place],
                    array_fill(1, array[v_last - v_first + 1]), p_claim_meters[v_first:v_last],
                    p_claim_starts[v_first:v_last], p_claim_ends[v_first:v_last], p_claim_units[v_first:v_last],
                    p_claim_allowances[v_first:v_last], p_claim_caps[v_first:v_last], p_claim_prices[v_first:v_last],
                    p_claim_pers[v_first:v_last]
                );
                codes[v_place] := v_one.codes[1];
                amounts[v_place] := v_one.amounts[1];
                layers[v_place] := v_one.layers[1];
                availables[v_place] := v_one.availables[1];
                refused[v_place] := v_one.refused[1] + v_first - 1;
                retry_at[v_place] := v_one.retry_at[1];
                taken[v_first:v_last] := v_one.taken;
                if codes[v_place] in ('limit', 'insufficient') then
                    v_refused := v_place;
                    v_refused_first := v_first;
                    v_refused_last := v_last;
                end if;
            end loop;
        end;
    end if;
end
$$;

-- The same id once more: repeated where it asks for the same, and what it was answered still stands.
create function batch_admit_again(
    p_id uuid, p_account bigint, p_amount bigint, p_counted boolean, p_meters text[], p_units bigint[]
) returns text language sql as $$
    select case
        when hold.account <> p_account or hold.claims is null then 'conflict'
        when (select array_agg(item.meter order by item.n) from unnest(hold.claims) with ordinality
            as item (meter, starts_at, units, used, allowance, price, per, charge, n)) <> p_meters then 'conflict'
        when (select array_agg(item.units order by item.n) from unnest(hold.claims) with ordinality
            as item (meter, starts_at, units, used, allowance, price, per, charge, n)) <> p_units then 'conflict'
        when p_counted <> (hold.created_at = hold.expires_at) then 'conflict'
        when p_counted and hold.state = 'settled' then 'repeated'
        when hold.state <> 'open' then 'ended'
        when hold.amount <> p_amount then 'conflict'
        else 'repeated'
    end
    from hold where hold.id = p_id
$$;

-- What stands on the counters of some claims now.
create function batch_admit_taken(p_now timestamptz, p_account bigint, p_meters text[], p_starts timestamptz[])
returns bigint[] language sql as $$
    select array_agg(
        coalesce(
            case
                when item.starts_at is null then feature_used(p_account, item.meter, p_now)
                else (
                    select counter.used + counter.held from meter_counter as counter
                    where counter.account = p_account and counter.meter = item.meter and counter.starts_at = item.starts_at
                )
            end,
            0
        )
        order by item.n
    )
    from unnest(p_meters, p_starts) with ordinality as item (meter, starts_at, n)
$$;
