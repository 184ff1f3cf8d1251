-- The functions of these names that were there before stay, for a batch that was under way when this was run: it
-- waited for its lane, and goes on as it began.

-- A hold that has ended on an account which may be short, and all that its end sets free.
create type short_end as (id uuid, freed bigint);

-- Settle (actual given) and release (actual null) open holds; see post_batch. One with claims has been ended
-- by batch_price before, but for its money: `p_priced` tells. Null is that it was not asked for.
create function batch_end(
    p_now timestamptz, p_revenue bigint, p_receivable bigint,
    p_ids uuid[], p_accounts bigint[], p_actuals bigint[], p_usage usage_entry[],
    p_priced boolean[], p_freed bigint[],
    out charged bigint, out shortfall bigint, out provider_cost bigint,
    out accounts bigint[], out posted bigint[], out held bigint[], out available bigint[],
    out exceptions batch_exception[]
) language plpgsql as $$
declare
    v_left integer[];
    v_short short_end[];
    -- Accounts of which nothing was held and nothing is charged: their plan pays.
    v_untouched bigint[];
    v_slow record;
    v_still record;
begin
    with asked as materialized (
        select item.id, item.account, item.actual, item.ordinal::integer
        from unnest(p_ids, p_accounts, p_actuals) with ordinality as item (id, account, actual, ordinal)
    ),
    plain as (
        update hold
        set state = case when asked.actual is null then 'released'::hold_state else 'settled' end, actual = asked.actual
        from asked
        where hold.id = asked.id and hold.account = asked.account and hold.state = 'open' and hold.claims is null
            and p_priced[asked.ordinal] is not true
        returning asked.ordinal, hold.id, hold.account, hold.amount, hold.actual
    ),
    ended as (
        select * from plain
        union all
        select asked.ordinal, asked.id, asked.account, p_freed[asked.ordinal], asked.actual
        from asked
        where p_priced[asked.ordinal]
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
        case when (select count(*) from ended) < cardinality(p_ids) then (
            select array_agg(asked.ordinal) from asked
            where (asked.ordinal in (select ended.ordinal from ended)) is not true
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
            where (entry.id in (select p_ids[place] from unnest(v_left) as place)) is not true
            returning cost
        )
        select sum(recorded.cost) into provider_cost from recorded;
    end if;

    if v_left is not null then
        -- Not open any more, or never there. Someone else's hold answers like one that does not exist.
        select array_agg((
            'end', place,
            case
                when hold.id is null then 'not_found'
                -- With claims that its caller did not know of: once more, through batch_price.
                when hold.claims is not null and p_priced[place] is null and hold.state in ('open', 'settled') then 'claims'
                when hold.state = 'settled' and hold.actual = p_actuals[place] then 'repeated'
                when hold.state = 'released' and p_actuals[place] is null then 'repeated'
                when hold.state = 'settled' and p_actuals[place] is not null then 'conflict'
                else 'ended'
            end,
            a.posted, a.held, a.posted - a.held - a.floor - a.overdraft
        )::batch_exception)
        into exceptions
        from unnest(v_left) as place
        left join hold on hold.id = p_ids[place] and hold.account = p_accounts[place]
        left join ledger_account as a on a.id = hold.account;
    end if;
end
$$;

-- Charge holds that have just been ended on accounts which cannot pay all of them: down to the floor and no further,
-- the rest is receivable. The settlements that free most go first, so that no shortfall is written while another
-- settlement of the same batch leaves money over.
create function batch_end_short(
    p_now timestamptz, p_revenue bigint, p_receivable bigint, p_ends short_end[],
    out charged bigint, out shortfall bigint,
    out accounts bigint[], out posted bigint[], out held bigint[], out available bigint[]
) language plpgsql as $$
begin
    with share as materialized (
        select hold.id, hold.account, short.freed as amount, coalesce(hold.actual, 0) as actual,
            least(coalesce(hold.actual, 0), short.freed + greatest(
                0,
                a.posted - a.held - a.floor + coalesce(sum(short.freed - coalesce(hold.actual, 0)) over (
                    partition by hold.account order by coalesce(hold.actual, 0) - short.freed, hold.id
                    rows between unbounded preceding and 1 preceding
                ), 0)
            ))::bigint as charge
        from unnest(p_ends) as short
        join hold on hold.id = short.id
        join ledger_account as a on a.id = hold.account
    ),
    balance as (
        update ledger_account as a
        set posted = a.posted - change.charge, held = a.held - change.freed
        from (
            select account, sum(share.charge)::bigint as charge, sum(share.amount)::bigint as freed
            from share
            group by account
        ) as change
        where a.id = change.account
        returning a.id, a.posted, a.held, a.posted - a.held - a.floor - a.overdraft as available
    ),
    moved as (
        insert into transfer (at, debit, credit, amount, kind, operation)
        select p_now, share.account, p_revenue, share.charge, 'usage'::transfer_kind, share.id
        from share where share.charge > 0
        union all
        select p_now, p_receivable, p_revenue, share.actual - share.charge, 'shortfall', share.id
        from share where share.actual > share.charge
    )
    select
        (select sum(share.charge) from share), (select sum(share.actual - share.charge) from share),
        array_agg(balance.id), array_agg(balance.posted), array_agg(balance.held), array_agg(balance.available)
    into charged, shortfall, accounts, posted, held, available
    from balance;
end
$$;
