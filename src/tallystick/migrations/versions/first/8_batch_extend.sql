-- Let open holds hold more, up to the total asked for, and longer; see post_batch. Rare, so one by one.
-- A total, not a difference: the same extension sent twice is the same.
create function batch_extend(
    p_now timestamptz, p_ids uuid[], p_accounts bigint[], p_amounts bigint[], p_expires_in_s integer[]
) returns batch_exception[] language plpgsql as $$
declare
    v_one record;
    v_exceptions batch_exception[];
    v_more bigint;
    v_code text;
begin
    for v_one in
        select item.*, hold.state, hold.amount as hold_amount, a.posted, a.held,
            a.posted - a.held - a.floor - a.overdraft as available
        from unnest(p_ids, p_accounts, p_amounts, p_expires_in_s)
            with ordinality as item (id, account, amount, expires_in_s, ordinal)
        left join hold on hold.id = item.id and hold.account = item.account
        left join ledger_account as a on a.id = hold.account
        order by item.ordinal
    loop
        v_more := greatest(v_one.amount - v_one.hold_amount, 0);
        v_code := case when v_one.state is null then 'not_found' when v_one.state <> 'open' then 'ended' end;
        if v_code is null and v_more > 0 then
            -- The row as it is now: an extension before this one may have used the account.
            update ledger_account as a
            set held = a.held + v_more
            where a.id = v_one.account and a.posted - a.held - v_more >= a.floor + a.overdraft;
            if not found then
                v_code := 'insufficient';
                select a.posted - a.held - a.floor - a.overdraft into v_one.available
                from ledger_account as a where a.id = v_one.account;
            end if;
        end if;
        if v_code is null then
            update hold
            set amount = amount + v_more,
                expires_at = greatest(expires_at, p_now + make_interval(secs => v_one.expires_in_s))
            where id = v_one.id;
        else
            v_exceptions := v_exceptions || (
                'extend', v_one.ordinal::integer, v_code, v_one.posted, v_one.held, v_one.available
            )::batch_exception;
        end if;
    end loop;
    return v_exceptions;
end
$$;
