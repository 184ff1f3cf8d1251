-- The hot path: one call posts what one lane has collected. Settles and releases first, then extensions, reserves,
-- deductions: operations of one batch are concurrent, so this order is as good as any, and it frees money before it is
-- asked for. An id stands in a batch once. Only the exceptions come back, and the balances after ends and deductions.
create function post_batch(
    p_lane integer, p_lanes integer,
    p_end_ids uuid[], p_end_accounts bigint[], p_end_actuals bigint[], p_usage usage_entry[],
    p_extend_ids uuid[], p_extend_accounts bigint[], p_extend_amounts bigint[], p_extend_expires_in_s integer[],
    p_reserve_ids uuid[], p_reserve_accounts bigint[], p_reserve_amounts bigint[], p_reserve_expires_in_s integer[],
    p_reserve_dispatchers uuid[],
    p_deduct_ids uuid[], p_deduct_accounts bigint[], p_deduct_amounts bigint[],
    out accounts bigint[], out posted bigint[], out held bigint[], out available bigint[],
    out exceptions batch_exception[]
) language plpgsql
-- One plan for every batch. Right after a vacuum saw a table empty, the planner would scan or hash all of it.
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
set jit = off
as $$
declare
    v_now timestamptz;
    v_revenue bigint := 1 * 64 + p_lane;
    v_provider_cost bigint := 2 * 64 + p_lane;
    v_provider_payable bigint := 3 * 64 + p_lane;
    v_receivable bigint := 6 * 64 + p_lane;
    v_charged bigint := 0;
    v_shortfall bigint := 0;
    v_cost bigint := 0;
    v_ended record;
    v_deducted record;
begin
    -- In a statement of its own: READ COMMITTED takes a new snapshot for each, and those below must see all that the
    -- lane's last holder wrote. One lane at a time also means that no two batches can deadlock.
    perform pg_advisory_xact_lock(31249, p_lane);
    v_now := clock_timestamp();
    if p_lanes <> (select lanes from ledger_layout) then
        raise exception 'the ledger does not have % lanes', p_lanes using errcode = 'object_not_in_prerequisite_state';
    end if;
    if cardinality(p_end_ids) > 0 then
        v_ended := batch_end(v_now, v_revenue, v_receivable, p_end_ids, p_end_accounts, p_end_actuals, p_usage);
        accounts := v_ended.accounts;
        posted := v_ended.posted;
        held := v_ended.held;
        available := v_ended.available;
        exceptions := v_ended.exceptions;
        v_charged := v_ended.charged;
        v_shortfall := v_ended.shortfall;
        v_cost := coalesce(v_ended.provider_cost, 0);
    end if;
    if cardinality(p_extend_ids) > 0 then
        exceptions := exceptions
            || batch_extend(v_now, p_extend_ids, p_extend_accounts, p_extend_amounts, p_extend_expires_in_s);
    end if;
    if cardinality(p_reserve_ids) > 0 then
        exceptions := exceptions || batch_reserve(
            v_now, p_reserve_ids, p_reserve_accounts, p_reserve_amounts, p_reserve_expires_in_s, p_reserve_dispatchers
        );
    end if;
    if cardinality(p_deduct_ids) > 0 then
        v_deducted := batch_deduct(v_now, v_revenue, p_deduct_ids, p_deduct_accounts, p_deduct_amounts);
        accounts := accounts || v_deducted.accounts;
        posted := posted || v_deducted.posted;
        held := held || v_deducted.held;
        available := available || v_deducted.available;
        exceptions := exceptions || v_deducted.exceptions;
        v_charged := v_charged + v_deducted.charged;
    end if;
    if v_charged + v_shortfall > 0 then
        update ledger_account as a set posted = a.posted + v_charged + v_shortfall where a.id = v_revenue;
    end if;
    if v_shortfall > 0 then
        update ledger_account as a set posted = a.posted - v_shortfall where a.id = v_receivable;
    end if;
    if v_cost > 0 then
        insert into transfer (at, debit, credit, amount, kind, operation)
        values (v_now, v_provider_cost, v_provider_payable, v_cost, 'provider_cost', gen_random_uuid());
        update ledger_account as a set posted = a.posted - v_cost where a.id = v_provider_cost;
        update ledger_account as a set posted = a.posted + v_cost where a.id = v_provider_payable;
    end if;
end
$$;

-- End holds that were never sent on and are past their time. The caller names them; this decides, under the lane lock.
create function expire_holds(p_lane integer, p_ids uuid[]) returns integer language plpgsql as $$
declare
    v_count integer;
begin
    perform pg_advisory_xact_lock(31249, p_lane);
    with expired as (
        update hold
        set state = 'expired'
        where id = any(p_ids) and state = 'open' and dispatcher is null and expires_at <= clock_timestamp()
            and account % (select lanes from ledger_layout) = p_lane
        returning account, amount
    ),
    freed as (
        update ledger_account as a
        set held = a.held - sums.amount
        from (select account, sum(amount)::bigint as amount from expired group by account) as sums
        where a.id = sums.account
    )
    select count(*) into v_count from expired;
    return v_count;
end
$$;
