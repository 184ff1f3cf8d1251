-- Uses that have left their windows are not needed any more: of each counter, what the last of them came to is kept.
create index feature_use_at on feature_use using brin (at) with (pages_per_range = 32, autosummarize = on);

-- Forget, in one lane, uses of up to `p_counters` counters that are older than a window by a day; returns how many.
create function prune_feature_uses(p_lane integer, p_counters integer) returns bigint language plpgsql as $$
declare
    v_until timestamptz;
    v_gone bigint;
begin
    perform pg_advisory_xact_lock(31249, p_lane);
    v_until := clock_timestamp() - interval '744 hours';
    with stale as materialized (
        select distinct account, feature
        from feature_use
        where at < v_until and account % (select lanes from ledger_layout) = p_lane
        limit p_counters
    ),
    -- All of a counter's at once: one that stayed behind a later one would be taken for the last.
    gone as (
        delete from feature_use as use
        using stale
        where use.account = stale.account and use.feature = stale.feature and use.at < v_until
        returning use.account, use.feature, use.cumulative
    ),
    kept as (
        update feature_counter as counter
        set pruned = last.cumulative
        from (select account, feature, max(cumulative) as cumulative from gone group by account, feature) as last
        where counter.account = last.account and counter.feature = last.feature
    )
    select count(*) into v_gone from gone;
    return v_gone;
end
$$;
