-- Rare postings: purchase, grant, expiry, reversal, adjustment. The frequent ones go through post_batch.

-- Write an operation and its transfers. Only for functions that hold the lanes and have checked the funds.
create function apply_posting(
    p_operation uuid, p_kind text, p_fingerprint text, p_reverses uuid,
    p_debits bigint[], p_credits bigint[], p_amounts bigint[]
) returns void language plpgsql as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    insert into operation (id, kind, fingerprint, reverses, at)
    values (p_operation, p_kind, p_fingerprint, p_reverses, v_now);
    update ledger_account
    set posted = posted + net.change
    from (
        select account, sum(change)::bigint as change
        from (
            select unnest(p_debits), -unnest(p_amounts) union all select unnest(p_credits), unnest(p_amounts)
        ) as entry (account, change)
        group by account
    ) as net
    where id = net.account;
    insert into transfer (at, debit, credit, amount, kind, operation)
    select v_now, entry.debit, entry.credit, entry.amount, p_kind::transfer_kind, p_operation
    from unnest(p_debits, p_credits, p_amounts) with ordinality as entry (debit, credit, amount, ordinal)
    order by entry.ordinal;
end
$$;

-- Post once. `outcome`: posted; repeated (the same operation was there); conflict (one with other content was there);
-- unknown_account; insufficient, where `account` has only `available`. Only 'posted' has written anything.
create function ledger_post(
    p_operation uuid, p_kind text, p_fingerprint text, p_reverses uuid,
    p_debits bigint[], p_credits bigint[], p_amounts bigint[],
    out outcome text, out account bigint, out available bigint, out required bigint
) language plpgsql as $$
declare
    v_touched bigint[] := array(select distinct touched from unnest(p_debits || p_credits) as touched order by 1);
begin
    -- A snapshot older than the lane lock would not see what the lane's last holder wrote.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'postings need READ COMMITTED' using errcode = 'invalid_transaction_state';
    end if;
    -- One id at a time, whatever lanes it names: two of the same id then find each other in the register.
    perform pg_advisory_xact_lock(hashtextextended(p_operation::text, 31249));
    perform lock_lanes(v_touched);
    select case when o.kind = p_kind and o.fingerprint = p_fingerprint then 'repeated' else 'conflict' end
    into outcome from operation as o where o.id = p_operation;
    if outcome is not null then
        return;
    end if;
    select touched into account from unnest(v_touched) as touched
    where not exists (select from ledger_account as a where a.id = touched) limit 1;
    if account is not null then
        outcome := 'unknown_account';
        return;
    end if;
    select a.id, a.posted - a.held - a.floor, -net.change into account, available, required
    from ledger_account as a
    join (
        select entry.account, sum(entry.change)::bigint as change
        from (
            select unnest(p_debits), -unnest(p_amounts) union all select unnest(p_credits), unnest(p_amounts)
        ) as entry (account, change)
        group by entry.account
    ) as net on net.account = a.id
    where net.change < 0 and a.posted - a.held + net.change < a.floor
    order by a.id limit 1;
    if account is not null then
        outcome := 'insufficient';
        return;
    end if;
    -- What was spent until now burns in the order that held until now.
    perform lots_refresh(touched) from unnest(v_touched) as touched where touched >= 1048576;
    perform apply_posting(p_operation, p_kind, p_fingerprint, p_reverses, p_debits, p_credits, p_amounts);
    outcome := 'posted';
end
$$;
