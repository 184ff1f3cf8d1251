-- Charge at once what was never held; see post_batch. The hold row is born settled and serves as the register. As it was,
-- but for the names in the second statement: it failed whenever some of an account's deductions in a batch fit, and the
-- lane then sent the batch in halves until they stood alone.
create or replace function batch_deduct(
    p_now timestamptz, p_revenue bigint, p_ids uuid[], p_accounts bigint[], p_amounts bigint[],
    out charged bigint, out accounts bigint[], out posted bigint[], out held bigint[], out available bigint[],
    out exceptions batch_exception[]
) language plpgsql as $$
declare
    v_left integer[];
    v_charged integer[];
    v_account bigint;
    v_free bigint;
    v_one record;
    v_more record;
begin
    with asked as materialized (
        select item.id, item.account, item.amount, item.ordinal::integer
        from unnest(p_ids, p_accounts, p_amounts) with ordinality as item (id, account, amount, ordinal)
    ),
    fresh as materialized (
        select * from asked where not exists (select from hold where hold.id = asked.id)
    ),
    need as (
        select account, sum(amount)::bigint as amount from fresh group by account
    ),
    balance as (
        update ledger_account as a
        set posted = a.posted - need.amount
        from need
        where a.id = need.account and a.id >= 1048576
            and a.posted - a.held - need.amount >= a.floor + a.overdraft
        returning a.id, a.posted, a.held, a.posted - a.held - a.floor - a.overdraft as available
    ),
    settled as (
        insert into hold (id, account, amount, actual, state, created_at, expires_at)
        select id, account, amount, amount, 'settled', p_now, p_now
        from fresh
        where (account in (select balance.id from balance)) is true
        returning id, account, amount
    ),
    moved as (
        insert into transfer (at, debit, credit, amount, kind, operation)
        select p_now, account, p_revenue, amount, 'deduction', id from settled
    )
    select
        (select coalesce(sum(settled.amount), 0) from settled),
        array_agg(balance.id), array_agg(balance.posted), array_agg(balance.held), array_agg(balance.available),
        case when (select count(*) from settled) < cardinality(p_ids) then (
            select array_agg(asked.ordinal) from asked where (asked.id in (select settled.id from settled)) is not true
        ) end
    into charged, accounts, posted, held, available, v_left
    from balance;
    if v_left is null then
        return;
    end if;

    for v_one in
        select
            place, p_accounts[place] as account, p_amounts[place] as amount, hold.state,
            hold.account = p_accounts[place] and hold.amount = p_amounts[place]
                and hold.state = 'settled' and hold.created_at = hold.expires_at as same,
            a.id as known, a.posted, a.held, a.posted - a.held - a.floor - a.overdraft as available
        from unnest(v_left) as place
        left join hold on hold.id = p_ids[place]
        left join ledger_account as a on a.id = p_accounts[place] and a.id >= 1048576
        order by 2, 1
    loop
        if v_one.account is distinct from v_account then
            v_account := v_one.account;
            v_free := v_one.available;
        end if;
        if v_one.state is null and v_one.amount <= v_free then
            v_free := v_free - v_one.amount;
            v_charged := v_charged || v_one.place;
        else
            exceptions := exceptions || (
                'deduct', v_one.place,
                case
                    when v_one.known is null then 'no_account'
                    when v_one.state is null then 'insufficient'
                    when v_one.same then 'repeated'
                    else 'conflict'
                end,
                v_one.posted, v_one.held, v_free
            )::batch_exception;
        end if;
    end loop;

    if v_charged is not null then
        with settled as (
            insert into hold (id, account, amount, actual, state, created_at, expires_at)
            select p_ids[place], p_accounts[place], p_amounts[place], p_amounts[place], 'settled', p_now, p_now
            from unnest(v_charged) as place
            returning id, account, amount
        ),
        moved as (
            insert into transfer (at, debit, credit, amount, kind, operation)
            select p_now, account, p_revenue, amount, 'deduction', id from settled
        ),
        balance as (
            update ledger_account as a
            set posted = a.posted - need.amount
            from (select account, sum(amount)::bigint as amount from settled group by account) as need
            where a.id = need.account
            returning a.id, a.posted, a.held, a.posted - a.held - a.floor - a.overdraft as available
        )
        select
            (select sum(settled.amount) from settled) as charged, array_agg(balance.id) as accounts,
            array_agg(balance.posted) as posted, array_agg(balance.held) as held,
            array_agg(balance.available) as available
        into v_more
        from balance;
        charged := charged + v_more.charged;
        accounts := accounts || v_more.accounts;
        posted := posted || v_more.posted;
        held := held || v_more.held;
        available := available || v_more.available;
    end if;
end
$$;
