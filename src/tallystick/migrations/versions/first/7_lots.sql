-- Lots are burned lazily: a spend only lowers the account's total. Between the events that change the burn order (a lot
-- is added, expires, is taken back) that order is fixed, so burning the difference at such an event is exact.

create function lock_lanes(p_accounts bigint[]) returns void language plpgsql as $$
declare
    v_lane bigint;
begin
    -- Every writer takes its lanes in ascending order, so no two can wait for each other.
    for v_lane in
        select distinct account % (select lanes from ledger_layout) from unnest(p_accounts) as account order by 1
    loop
        perform pg_advisory_xact_lock(31249, v_lane::integer);
    end loop;
end
$$;

-- The lots of an account in the order they burn, each with what must burn before it.
create function lots_in_burn_order(p_account bigint)
returns table (id uuid, remaining bigint, before bigint, expires_at timestamptz) language sql stable as $$
    select
        id, remaining,
        (sum(remaining) over (
            order by priority, kind <> 'promotional', expires_at nulls last, created_at, id
        ) - remaining)::bigint,
        expires_at
    from lot
    where account = p_account and remaining > 0
$$;

create function lots_refresh(p_account bigint) returns void language plpgsql as $$
declare
    v_burn bigint;
begin
    perform lock_lanes(array[p_account]);
    select sum(remaining) - greatest((select posted from ledger_account where id = p_account), 0)
    into v_burn from lot where account = p_account and remaining > 0;
    if v_burn > 0 then
        update lot
        set remaining = lot.remaining - least(burning.remaining, v_burn - burning.before)
        from lots_in_burn_order(p_account) as burning
        where lot.id = burning.id and burning.before < v_burn;
    end if;
end
$$;

-- Expire what is left of an account's lots that are due by both clocks; returns how much. What open holds have set
-- aside stays until they end, for it was promised.
create function expire_lots(p_account bigint, p_now timestamptz) returns bigint language plpgsql as $$
declare
    v_now timestamptz := least(coalesce(p_now, clock_timestamp()), clock_timestamp());
    v_lanes bigint := (select lanes from ledger_layout);
    v_due bigint;
    v_free bigint;
    v_expired bigint;
begin
    perform lots_refresh(p_account);
    select coalesce(sum(remaining), 0) into v_due from lot where account = p_account and remaining > 0 and expires_at <= v_now;
    select posted - held into v_free from ledger_account where id = p_account;
    v_expired := least(v_due, v_free);
    if v_expired <= 0 then
        return 0;
    end if;
    update lot
    set remaining = lot.remaining - least(due.remaining, v_expired - due.before)
    from (
        select id, remaining, (sum(remaining) over (order by before) - remaining)::bigint as before
        from lots_in_burn_order(p_account) where expires_at <= v_now
    ) as due
    where lot.id = due.id and due.before < v_expired;
    perform apply_posting(
        gen_random_uuid(), 'expiry', 'lots due', null,
        array[p_account], array[8 * 64 + p_account % v_lanes], array[v_expired]
    );
    return v_expired;
end
$$;
