-- Settle (actual given) and release (actual null) open holds; see post_batch. One with claims has been ended by
-- batch_price before, but for its money: its actual with the overage, and what it sets free, stand in its place of the
-- other three arrays. Without claims they are null.
create function batch_end(
    p_now timestamptz, p_revenue bigint, p_receivable bigint,
    p_ends end_entry[], p_usage usage_entry[], p_actuals bigint[], p_priced boolean[], p_freed bigint[],
    out charged bigint, out shortfall bigint, out provider_cost bigint,
    out accounts bigint[], out posted bigint[], out held bigint[], out available bigint[],
    out exceptions batch_exception[]
) language plpgsql as $$
declare
    v_left uuid[];
    v_short short_end[];
    -- Accounts of which nothing was held and nothing is charged: their plan pays.
    v_untouched bigint[];
    v_slow record;
    v_still record;
begin
    with asked as materialized (
        select
            item.id, item.account, case when p_actuals is null then item.actual else item.priced_actual end as actual,
            item.priced, item.freed
        from unnest(p_ends, p_actuals, p_priced, p_freed)
            as item (id, account, actual, units, priced_actual, priced, freed)
    ),
    plain as (
        update hold
        set state = case when asked.actual is null then 'released'::hold_state else 'settled' end, actual = asked.actual
        from asked
        where hold.id = asked.id and hold.account = asked.account and hold.state = 'open' and hold.claims is null
            and asked.priced is not true
        returning hold.id, hold.account, hold.amount, hold.actual
    ),
    ended as (
        select * from plain
        union all
        select asked.id, asked.account, asked.freed, asked.actual from asked where asked.priced
    ),
    change as (
        select ended.account, sum(ended.amount)::bigint as freed, coalesce(sum(ended.actual), 0)::bigint as actual
        from ended
        group by ended.account
    ),
    -- All that an account is charged in this batch fits above its floor, or batch_end_short decides.
    balance as (
        update ledger_account as a
        set posted = a.posted - change.actual, held = a.held - change.freed
        from change
        where a.id = change.account and a.posted - a.held - a.floor >= change.actual - change.freed
            and (change.freed > 0 or change.actual > 0)
        returning a.id, a.posted, a.held, a.posted - a.held - a.floor - a.overdraft as available
    ),
    moved as (
        insert into transfer (at, debit, credit, amount, kind, operation)
        select p_now, ended.account, p_revenue, ended.actual, 'usage', ended.id
        from ended
        where ended.actual > 0 and (ended.account in (select balance.id from balance)) is true
        returning amount
    )
    select
        (select coalesce(sum(moved.amount), 0) from moved), 0,
        array_agg(balance.id), array_agg(balance.posted), array_agg(balance.held), array_agg(balance.available),
        case when (select count(*) from change where freed > 0 or change.actual > 0) > count(*) then (
            select array_agg((ended.id, ended.amount)::short_end) from ended
            where (ended.account in (select balance.id from balance)) is not true
                and (ended.account in (select change.account from change where freed > 0 or change.actual > 0)) is true
        ) end,
        (select array_agg(change.account) from change where freed = 0 and change.actual = 0),
        case when (select count(*) from ended) < cardinality(p_ends) then (
            select array_agg(asked.id) from asked where (asked.id in (select ended.id from ended)) is not true
        ) end
    into charged, shortfall, accounts, posted, held, available, v_short, v_untouched, v_left
    from balance;

    if v_short is not null then
        v_slow := batch_end_short(p_now, p_revenue, p_receivable, v_short);
        charged := charged + v_slow.charged;
        shortfall := v_slow.shortfall;
        accounts := accounts || v_slow.accounts;
        posted := posted || v_slow.posted;
        held := held || v_slow.held;
        available := available || v_slow.available;
    end if;

    if v_untouched is not null then
        select
            array_agg(a.id) as accounts, array_agg(a.posted) as posted, array_agg(a.held) as held,
            array_agg(a.posted - a.held - a.floor - a.overdraft) as available
        into v_still
        from unnest(v_untouched) as untouched (id)
        join lateral (select * from ledger_account where ledger_account.id = untouched.id limit 1) as a on true;
        accounts := accounts || v_still.accounts;
        posted := posted || v_still.posted;
        held := held || v_still.held;
        available := available || v_still.available;
    end if;

    if cardinality(p_usage) > 0 then
        with recorded as (
            insert into usage_record (
                id, at, account, api_key, endpoint, alias, provider, model, stream, input_tokens, cached_tokens,
                cache_write_tokens, output_tokens, reasoning_tokens, input_audio_tokens, output_audio_tokens, images,
                usage_source, cost_id, price_id, cost, charge, reserved, outcome, rule, status, upstream_id, attempts,
                latency_ms, first_byte_ms, layer, overage
            )
            select
                entry.id, p_now, entry.account, entry.api_key, entry.endpoint, entry.alias, entry.provider,
                entry.model, entry.stream, entry.input_tokens, entry.cached_tokens, entry.cache_write_tokens,
                entry.output_tokens, entry.reasoning_tokens, entry.input_audio_tokens, entry.output_audio_tokens,
                entry.images, entry.usage_source, entry.cost_id, entry.price_id, entry.cost,
                entry.charge + coalesce(extra.overage, 0), entry.reserved, entry.outcome, entry.rule, entry.status,
                entry.upstream_id, entry.attempts, entry.latency_ms, entry.first_byte_ms, extra.layer, coalesce(extra.overage, 0)
            from unnest(p_usage) as entry
            left join lateral (
                select hold.layer, (select sum(claim.charge) from unnest(hold.claims) as claim)::bigint as overage
                from hold
                where hold.id = entry.id and p_priced is not null
                limit 1
            ) as extra on true
            -- Only of the holds that this call has ended.
            where (entry.id in (select unnest(v_left))) is not true
            returning cost
        )
        select sum(recorded.cost) into provider_cost from recorded;
    end if;

    if v_left is not null then
        -- Not open any more, or never there. Someone else's hold answers like one that does not exist.
        select array_agg((
            'end', item.ordinal,
            case
                when hold.id is null then 'not_found'
                -- With claims that its caller did not know of: once more, through batch_price.
                when hold.claims is not null and (p_priced is null or item.units is null)
                    and hold.state in ('open', 'settled') then 'claims'
                when hold.state = 'settled' and hold.actual = item.actual then 'repeated'
                when hold.state = 'released' and item.actual is null then 'repeated'
                when hold.state = 'settled' and item.actual is not null then 'conflict'
                else 'ended'
            end,
            a.posted, a.held, a.posted - a.held - a.floor - a.overdraft
        )::batch_exception)
        into exceptions
        from (
            select
                asked.id, asked.account, asked.units, asked.ordinal::integer,
                case when p_actuals is null then asked.actual else asked.priced_actual end as actual
            from unnest(p_ends, p_actuals) with ordinality
                as asked (id, account, actual, units, priced_actual, ordinal)
            where asked.id = any(v_left)
        ) as item
        left join hold on hold.id = item.id and hold.account = item.account
        left join ledger_account as a on a.id = hold.account;
    end if;
end
$$;
