-- The hot path: one call posts what one lane has collected. Settles and releases first, then extensions, reserves,
-- deductions, admissions: operations of one batch are concurrent, so this order is as good as any, and it frees money
-- and units before more is asked for. An id stands in a batch once. Only the exceptions come back, the balances after
-- ends and deductions, and what was decided of each admission.
create function post_batch(
    -- Null is all lanes.
    p_lane integer, p_lanes integer,
    p_ends end_entry[], p_usage usage_entry[], p_extends hold_entry[], p_reserves hold_entry[], p_deducts hold_entry[],
    -- Both null: nothing that has claims is made or ended.
    p_admits admit_entry[], p_claims claim_entry[],
    out accounts bigint[], out posted bigint[], out held bigint[], out available bigint[],
    out exceptions batch_exception[], out overages bigint[],
    out codes text[], out amounts bigint[], out layers layer[], out availables bigint[],
    out refused integer[], out retry_at timestamptz[], out taken bigint[], out now timestamptz
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
    v_lane integer := coalesce(p_lane, 0);
    v_revenue bigint := 1 * 64 + v_lane;
    v_provider_cost bigint := 2 * 64 + v_lane;
    v_provider_payable bigint := 3 * 64 + v_lane;
    v_receivable bigint := 6 * 64 + v_lane;
    v_charged bigint := 0;
    v_shortfall bigint := 0;
    v_cost bigint := 0;
    v_actuals bigint[];
    v_priced boolean[];
    v_freed bigint[];
    v_ended record;
    v_deducted record;
    v_admitted record;
begin
    -- In a statement of its own: READ COMMITTED takes a new snapshot for each, and those below must see all that the
    -- lane's last holder wrote. Always in this order, so that no two batches can deadlock.
    if p_lane is null then
        perform pg_advisory_xact_lock(31249, lane) from generate_series(0, p_lanes - 1) as lane;
    else
        perform pg_advisory_xact_lock(31249, p_lane);
    end if;
    now := clock_timestamp();
    if p_lanes <> (select lanes from ledger_layout) then
        raise exception 'the ledger does not have % lanes', p_lanes using errcode = 'object_not_in_prerequisite_state';
    end if;
    if cardinality(p_ends) > 0 then
        if p_claims is not null then
            select price.actuals, price.overages, price.priced, price.freed
            into v_actuals, overages, v_priced, v_freed
            from batch_price(p_ends) as price;
        end if;
        v_ended := batch_end(now, v_revenue, v_receivable, p_ends, p_usage, v_actuals, v_priced, v_freed);
        accounts := v_ended.accounts;
        posted := v_ended.posted;
        held := v_ended.held;
        available := v_ended.available;
        exceptions := v_ended.exceptions;
        v_charged := v_ended.charged;
        v_shortfall := v_ended.shortfall;
        v_cost := coalesce(v_ended.provider_cost, 0);
    end if;
    if cardinality(p_extends) > 0 then
        exceptions := exceptions || (
            select batch_extend(
                now, array_agg(item.id), array_agg(item.account), array_agg(item.amount), array_agg(item.expires_in_s)
            )
            from unnest(p_extends) as item
        );
    end if;
    if cardinality(p_reserves) > 0 then
        exceptions := exceptions || batch_reserve(now, p_reserves);
    end if;
    if cardinality(p_deducts) > 0 then
        select deducted.* into v_deducted
        from (
            select array_agg(item.id) as ids, array_agg(item.account) as accounts, array_agg(item.amount) as amounts
            from unnest(p_deducts) as item
        ) as asked
        cross join lateral batch_deduct(now, v_revenue, asked.ids, asked.accounts, asked.amounts) as deducted;
        accounts := accounts || v_deducted.accounts;
        posted := posted || v_deducted.posted;
        held := held || v_deducted.held;
        available := available || v_deducted.available;
        exceptions := exceptions || v_deducted.exceptions;
        v_charged := v_charged + v_deducted.charged;
    end if;
    if v_cost > 0 then
        insert into transfer (at, debit, credit, amount, kind, operation)
        values (now, v_provider_cost, v_provider_payable, v_cost, 'provider_cost', gen_random_uuid());
    end if;
    if v_charged + v_shortfall + v_cost > 0 then
        update ledger_account as a
        set posted = a.posted + change.amount
        from (
            values
                (v_revenue, v_charged + v_shortfall), (v_receivable, -v_shortfall),
                (v_provider_cost, -v_cost), (v_provider_payable, v_cost)
        ) as change (id, amount)
        where a.id = change.id and change.amount <> 0;
    end if;
    if cardinality(p_admits) > 0 then
        now := clock_timestamp();
        v_admitted := batch_admit(now, p_admits, p_claims);
        codes := v_admitted.codes;
        amounts := v_admitted.amounts;
        layers := v_admitted.layers;
        availables := v_admitted.availables;
        refused := v_admitted.refused;
        retry_at := v_admitted.retry_at;
        taken := v_admitted.taken;
    end if;
end
$$;
