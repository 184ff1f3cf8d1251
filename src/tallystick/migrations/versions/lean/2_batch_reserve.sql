-- Place holds; see post_batch. A refused reserve leaves no row. Who sets nothing aside is not refused for a debt: a plan
-- pays for it.
create function batch_reserve(p_now timestamptz, p_reserves hold_entry[]) returns batch_exception[] language plpgsql as $$
declare
    v_done uuid[];
    v_placed uuid[];
    v_exceptions batch_exception[];
    v_account bigint;
    v_free bigint;
    v_one record;
begin
    with fresh as materialized (
        select * from unnest(p_reserves) as item
        -- A list made once, by one scan of the index: a join could be planned from all the holds there are.
        where (item.id in (
            select hold.id from hold where hold.id = any(array(select asked.id from unnest(p_reserves) as asked))
        )) is not true
    ),
    need as (
        select fresh.account, sum(fresh.amount)::bigint as amount from fresh group by fresh.account
        -- All of them; to the planner few, so that it starts from these and not from all accounts.
        limit cardinality(p_reserves)
    ),
    -- All that an account is asked for in this batch fits, or this account is decided one by one below.
    granted as (
        update ledger_account as a
        set held = a.held + need.amount
        from need
        where a.id = need.account and a.id >= 1048576
            and (need.amount = 0 or a.posted - a.held - need.amount >= a.floor + a.overdraft)
        returning a.id
    ),
    placed as (
        insert into hold (id, account, amount, created_at, expires_at, dispatcher)
        select id, account, amount, p_now, p_now + make_interval(secs => expires_in_s), dispatcher
        from fresh
        where (account in (select granted.id from granted)) is true
        returning id
    )
    select array_agg(placed.id) into v_done from placed;
    if cardinality(v_done) = cardinality(p_reserves) then
        return null;
    end if;

    for v_one in
        select
            item.ordinal::integer, item.id, item.account, item.amount, hold.state,
            hold.account as hold_account, hold.amount as hold_amount,
            hold.created_at = hold.expires_at or hold.claims is not null as other,
            a.id as known, a.posted, a.held, a.posted - a.held - a.floor - a.overdraft as available
        from unnest(p_reserves) with ordinality
            as item (id, account, amount, expires_in_s, dispatcher, ordinal)
        left join hold on hold.id = item.id
        left join ledger_account as a on a.id = item.account and a.id >= 1048576
        where (item.id in (select unnest(v_done))) is not true
        order by item.account, item.ordinal
    loop
        if v_one.account is distinct from v_account then
            v_account := v_one.account;
            v_free := v_one.available;
        end if;
        if v_one.state is null and v_one.known is not null and (v_one.amount = 0 or v_one.amount <= v_free) then
            v_free := v_free - v_one.amount;
            v_placed := v_placed || v_one.id;
        else
            v_exceptions := v_exceptions || (
                'reserve', v_one.ordinal,
                case
                    when v_one.known is null then 'no_account'
                    when v_one.state is null then 'insufficient'
                    when v_one.hold_account <> v_one.account or v_one.other then 'conflict'
                    -- Nothing may be sent on the word of a hold that has ended, however it was asked for.
                    when v_one.state <> 'open' then 'ended'
                    when v_one.hold_amount <> v_one.amount then 'conflict'
                    else 'repeated'
                end,
                v_one.posted, v_one.held, v_free
            )::batch_exception;
        end if;
    end loop;

    if v_placed is not null then
        with placed as (
            insert into hold (id, account, amount, created_at, expires_at, dispatcher)
            select id, account, amount, p_now, p_now + make_interval(secs => expires_in_s), dispatcher
            from unnest(p_reserves) as item
            where item.id = any(v_placed)
            returning account, amount
        )
        update ledger_account as a
        set held = a.held + need.amount
        from (select account, sum(amount)::bigint as amount from placed group by account) as need
        where a.id = need.account;
    end if;
    return v_exceptions;
end
$$;
