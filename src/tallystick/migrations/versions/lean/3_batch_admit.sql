-- Place holds that claims limit, as the function of this name that takes columns does, of which see what each answer
-- is; a dispatcher may be null here. What most accounts ask for has a short way, in one statement; what is left, that
-- function decides. No account's answers depend on another's, but for ids that were known before: then it decides all.
--
-- The short way is for requests with one claim each, of a meter that has a counter at the price that they ask for; an
-- account has one such counter in a batch, and all that it asks for fits together.
create function batch_admit(
    p_now timestamptz, p_admits admit_entry[], p_claims claim_entry[],
    out codes text[], out amounts bigint[], out layers layer[], out availables bigint[],
    out refused integer[], out retry_at timestamptz[], out taken bigint[]
) language plpgsql as $$
declare
    v_count integer := cardinality(p_admits);
    v_short boolean[];
    -- Places of what is left; null is all.
    v_left integer[];
    v_missed bigint;
    v_answer record;
begin
    -- Who goes which way is seen below; a kind that never goes there is seen by the first request.
    if cardinality(p_claims) = v_count and not (p_admits[1]).counted then
        with item as (
            select
                ask.place, ask.id, ask.account, ask.amount, ask.expires_in_s, ask.dispatcher,
                ask.meter, ask.starts_at, ask.units, ask.allowance, ask.cap, ask.price, ask.per,
                counter.ctid as counter, counter.used, counter.used + counter.held as standing, counter.pending,
                a.posted - a.held as free, a.floor + a.overdraft as bottom, a.backing,
                ask.claim_place = ask.place and not ask.counted and ask.starts_at <= p_now and ask.ends_at > p_now
                    -- Whatever is larger is summed up where nothing can overflow.
                    and ask.units between 0 and 1000000000000000 and ask.amount between 0 and 1000000000000000
                    and not counter.mixed and counter.allowance = ask.allowance and counter.price = ask.price
                    and counter.per = ask.per and a.id is not null
                    and lag(counter.ctid, 1, counter.ctid) over in_order = counter.ctid as usual,
                small_sum(least(ask.units, 1000000000000000)) over in_order as units_so_far,
                small_sum(least(ask.amount, 1000000000000000)) over in_order as amount_so_far,
                row_number() over in_order = 1 as first,
                lead(false, 1, true) over in_order as last
            from rows from (unnest(p_admits), unnest(p_claims)) with ordinality as ask (
                id, account, amount, expires_in_s, dispatcher, counted,
                claim_place, meter, starts_at, ends_at, units, allowance, cap, price, per, place
            )
            -- Outer joins, so that they are never planned from all the counters or accounts there are.
            left join meter_counter as counter
                on counter.account = ask.account and counter.meter = ask.meter and counter.starts_at = ask.starts_at
            left join ledger_account as a on a.id = ask.account and a.id >= 1048576
            window in_order as (partition by ask.account order by ask.place)
        ),
        priced as (
            select
                item.*, standing + units_so_far as after,
                -- What must be set aside from the account's first request to this one, with what was lacking before.
                price_of(standing + units_so_far - allowance, price, per) - price_of(used - allowance, price, per)
                    - pending as lack,
                case
                    when not first then
                        price_of(standing + units_so_far - allowance, price, per)
                        - price_of(standing + units_so_far - units - allowance, price, per)
                end as later_charge
            from item
            -- Not merged into what reads it: each price is then computed once.
            offset 0
        ),
        charged as (
            select priced.*, coalesce(later_charge, lack) as charge, lack + amount_so_far as due
            from priced
            offset 0
        ),
        decided as materialized (
            select
                bool_and((usual and (after > cap) is not true and (due <= 0 or due <= free - bottom)) is true)
                    over (partition by account) as short,
                last, counter, units_so_far, lack, due,
                place, amount + charge as most, free - bottom as spendable, after,
                case
                    when amount + charge <= 0 then 'included'::layer
                    when free - due >= backing then 'promotional'
                    when free - due >= 0 then 'purchased'
                    else 'overage'
                end as layer,
                id, account, amount, expires_in_s,
                nullif(dispatcher, '00000000-0000-0000-0000-000000000000') as dispatcher,
                array[row(meter, starts_at, units, null, allowance, price, per, charge)::claim] as claims
            from charged
        ),
        known as materialized (
            select from hold where hold.id = any(array(select ask.id from unnest(p_admits) as ask)) limit 1
        ),
        placed as (
            insert into hold (id, account, amount, created_at, expires_at, dispatcher, layer, claims)
            select id, account, amount, p_now, p_now + make_interval(secs => expires_in_s), dispatcher, layer, claims
            from decided
            where short and not exists (select from known)
        ),
        -- The rows are where they were read: only who has the lane writes them, which is seen to below.
        metered as (
            update meter_counter as counter
            set held = counter.held + decided.units_so_far, pending = counter.pending + decided.lack
            from decided
            where counter.ctid = decided.counter and decided.last and decided.short and not exists (select from known)
            returning true
        ),
        money as (
            update ledger_account as a
            set held = a.held + decided.due
            from decided
            where a.id = decided.account and decided.last and decided.due <> 0 and decided.short
                and not exists (select from known)
        )
        select
            array_agg(most), array_agg(layer), array_agg(spendable), array_agg(after), array_agg(short),
            count(*) filter (where short and last) - (select count(*) from metered)
        into amounts, layers, availables, taken, v_short, v_missed
        from (
            select most, layer, spendable, after, short and not exists (select from known) as short, last
            from decided order by place
        ) as answer;
        if v_missed <> 0 then
            raise exception 'counters of this lane are written without it' using errcode = 'serialization_failure';
        end if;
        if true = any(v_short) then
            codes := array_fill('admitted'::text, array[v_count]);
            refused := array_fill(null::integer, array[v_count]);
            retry_at := array_fill(null::timestamptz, array[v_count]);
            select array_agg(place order by place) into v_left
            from generate_subscripts(v_short, 1) as place where not v_short[place];
            if v_left is null then
                return;
            end if;
        end if;
    end if;

    select answer.* into v_answer
    from (
        select
            array_agg(id order by place) as ids, array_agg(account order by place) as accounts,
            array_agg(amount order by place) as amounts, array_agg(expires_in_s order by place) as expires_in_s,
            array_agg(coalesce(dispatcher, '00000000-0000-0000-0000-000000000000') order by place) as dispatchers,
            array_agg(counted order by place) as counted
        from unnest(p_admits) with ordinality as ask (id, account, amount, expires_in_s, dispatcher, counted, place)
        where v_left is null or place = any(v_left)
    ) as ask
    cross join (
        select
            array_agg(place order by number) as places, array_agg(meter order by number) as meters,
            array_agg(starts_at order by number) as starts, array_agg(ends_at order by number) as ends,
            array_agg(units order by number) as units, array_agg(allowance order by number) as allowances,
            array_agg(cap order by number) as caps, array_agg(price order by number) as prices,
            array_agg(per order by number) as pers
        from (
            select
                -- Only where each request has one claim is some of a batch left.
                case when v_left is null then place else (row_number() over (order by number))::integer end as place,
                meter, starts_at, ends_at, units, allowance, cap, price, per, number
            from unnest(p_claims) with ordinality
                as item (place, meter, starts_at, ends_at, units, allowance, cap, price, per, number)
            where v_left is null or place = any(v_left)
        ) as ask
    ) as claim
    cross join lateral batch_admit(
        p_now, ask.ids, ask.accounts, ask.amounts, ask.expires_in_s, ask.dispatchers, ask.counted, claim.places,
        claim.meters, claim.starts, claim.ends, claim.units, claim.allowances, claim.caps, claim.prices, claim.pers
    ) as answer;
    if v_left is null then
        codes := v_answer.codes;
        amounts := v_answer.amounts;
        layers := v_answer.layers;
        availables := v_answer.availables;
        refused := v_answer.refused;
        retry_at := v_answer.retry_at;
        taken := v_answer.taken;
        return;
    end if;
    for v_n in 1..cardinality(v_left) loop
        codes[v_left[v_n]] := v_answer.codes[v_n];
        amounts[v_left[v_n]] := v_answer.amounts[v_n];
        layers[v_left[v_n]] := v_answer.layers[v_n];
        availables[v_left[v_n]] := v_answer.availables[v_n];
        refused[v_left[v_n]] := v_left[v_answer.refused[v_n]];
        retry_at[v_left[v_n]] := v_answer.retry_at[v_n];
        taken[v_left[v_n]] := v_answer.taken[v_n];
    end loop;
end
$$;
