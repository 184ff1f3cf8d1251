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
    -- Which of the ends have claims, and what batch_price has seen to of them; null where no claims are known of.
    p_priced boolean[], p_freed bigint[],
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
        v_ended := batch_end(
            v_now, v_revenue, v_receivable, p_end_ids, p_end_accounts, p_end_actuals, p_usage, p_priced, p_freed
        );
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
    if v_cost > 0 then
        insert into transfer (at, debit, credit, amount, kind, operation)
        values (v_now, v_provider_cost, v_provider_payable, v_cost, 'provider_cost', gen_random_uuid());
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
end
$$;

-- As the version before this one calls it, whose workers go on until they are replaced. Its place is kept, so that a
-- call which is just beginning finds it.
create or replace function post_batch(
    p_lane integer, p_lanes integer,
    p_end_ids uuid[], p_end_accounts bigint[], p_end_actuals bigint[], p_usage usage_entry[],
    p_extend_ids uuid[], p_extend_accounts bigint[], p_extend_amounts bigint[], p_extend_expires_in_s integer[],
    p_reserve_ids uuid[], p_reserve_accounts bigint[], p_reserve_amounts bigint[], p_reserve_expires_in_s integer[],
    p_reserve_dispatchers uuid[],
    p_deduct_ids uuid[], p_deduct_accounts bigint[], p_deduct_amounts bigint[],
    out accounts bigint[], out posted bigint[], out held bigint[], out available bigint[],
    out exceptions batch_exception[]
) language plpgsql as $$
begin
    select posting.accounts, posting.posted, posting.held, posting.available, posting.exceptions
    into accounts, posted, held, available, exceptions
    from post_batch(
        p_lane, p_lanes, p_end_ids, p_end_accounts, p_end_actuals, p_usage,
        p_extend_ids, p_extend_accounts, p_extend_amounts, p_extend_expires_in_s,
        p_reserve_ids, p_reserve_accounts, p_reserve_amounts, p_reserve_expires_in_s, p_reserve_dispatchers,
        p_deduct_ids, p_deduct_accounts, p_deduct_amounts, null, null
    ) as posting;
end
$$;

-- A batch in which claims are made or ended. What ends frees its units, as it frees its credits, before more is admitted.
create function post_batch_with_claims(
    p_lane integer, p_lanes integer,
    p_end_ids uuid[], p_end_accounts bigint[], p_end_actuals bigint[], p_usage usage_entry[],
    p_extend_ids uuid[], p_extend_accounts bigint[], p_extend_amounts bigint[], p_extend_expires_in_s integer[],
    p_reserve_ids uuid[], p_reserve_accounts bigint[], p_reserve_amounts bigint[], p_reserve_expires_in_s integer[],
    p_reserve_dispatchers uuid[],
    p_deduct_ids uuid[], p_deduct_accounts bigint[], p_deduct_amounts bigint[],
    p_end_unit_starts integer[], p_end_units bigint[],
    p_admit_ids uuid[], p_admit_accounts bigint[], p_admit_amounts bigint[], p_admit_expires_in_s integer[],
    p_admit_dispatchers uuid[], p_admit_counted boolean[],
    p_claim_places integer[], p_claim_meters text[], p_claim_starts timestamptz[], p_claim_ends timestamptz[],
    p_claim_units bigint[], p_claim_allowances bigint[], p_claim_caps bigint[], p_claim_prices bigint[],
    p_claim_pers bigint[],
    out accounts bigint[], out posted bigint[], out held bigint[], out available bigint[],
    out exceptions batch_exception[], out overages bigint[],
    out codes text[], out amounts bigint[], out layers layer[], out availables bigint[],
    out refused integer[], out retry_at timestamptz[], out taken bigint[], out now timestamptz
) language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
set jit = off
as $$
declare
    v_priced record;
    v_posted record;
    v_admitted record;
begin
    perform pg_advisory_xact_lock(31249, p_lane);
    v_priced := batch_price(p_end_ids, p_end_accounts, p_end_actuals, p_end_unit_starts, p_end_units);
    overages := v_priced.overages;
    v_posted := post_batch(
        p_lane, p_lanes, p_end_ids, p_end_accounts, v_priced.actuals, p_usage,
        p_extend_ids, p_extend_accounts, p_extend_amounts, p_extend_expires_in_s,
        p_reserve_ids, p_reserve_accounts, p_reserve_amounts, p_reserve_expires_in_s, p_reserve_dispatchers,
        p_deduct_ids, p_deduct_accounts, p_deduct_amounts, v_priced.priced, v_priced.freed
    );
    accounts := v_posted.accounts;
    posted := v_posted.posted;
    held := v_posted.held;
    available := v_posted.available;
    exceptions := v_posted.exceptions;
    now := clock_timestamp();
    if cardinality(p_admit_ids) > 0 then
        v_admitted := batch_admit(
            now, p_admit_ids, p_admit_accounts, p_admit_amounts, p_admit_expires_in_s, p_admit_dispatchers,
            p_admit_counted, p_claim_places, p_claim_meters, p_claim_starts, p_claim_ends, p_claim_units,
            p_claim_allowances, p_claim_caps, p_claim_prices, p_claim_pers
        );
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

-- End holds that were never sent on and are past their time. The caller names them; this decides, under the lane lock.
create or replace function expire_holds(p_lane integer, p_ids uuid[]) returns integer language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
set jit = off
as $$
declare
    v_due uuid[];
    v_accounts bigint[];
    v_priced record;
begin
    perform pg_advisory_xact_lock(31249, p_lane);
    select array_agg(id order by id), array_agg(account order by id) into v_due, v_accounts
    from hold
    where id = any(p_ids) and state = 'open' and dispatcher is null and expires_at <= clock_timestamp()
        and account % (select lanes from ledger_layout) = p_lane;
    if v_due is null then
        return 0;
    end if;
    v_priced := batch_price(
        v_due, v_accounts, array_fill(null::bigint, array[cardinality(v_due)]), array_fill(0, array[cardinality(v_due)]),
        '{}'
    );
    with expired as (
        update hold set state = 'expired' where id = any(v_due) returning account, amount, claims
    )
    update ledger_account as a
    set held = a.held - sums.amount
    from (
        select account, sum(amount)::bigint as amount
        from (
            select account, amount from expired where claims is null
            union all
            select * from unnest(v_accounts, v_priced.freed)
        ) as free (account, amount)
        group by account
    ) as sums
    where a.id = sums.account;
    return cardinality(v_due);
end
$$;
