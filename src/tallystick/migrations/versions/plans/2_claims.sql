-- Limits beside money: what is used of a plan's meters in a billing period, and of features in a rolling window.
-- One counter each, written under the lane lock of its account by the functions of 3_*.sql, in the transaction of the
-- hold that claims it.

create table meter_counter (
    account bigint not null,
    meter text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    -- Units of holds that have ended, as they were really used; units that open holds claim.
    used bigint not null default 0,
    held bigint not null default 0,
    -- The price in force: nanocredits for each `per` units beyond the allowance.
    allowance bigint not null default 0,
    price bigint not null default 0,
    per bigint not null default 1,
    -- What the units held can still cost: the price of used + held less that of used. It is part of what the account
    -- holds, and belongs to no one hold: whichever ends first, what lies beyond the allowance is paid for.
    pending bigint not null default 0,
    -- Units are held at more prices than one, since the plan was changed while requests ran: until these have ended,
    -- `pending` is what each of them set aside at its own price.
    mixed boolean not null default false,
    primary key (account, meter, starts_at),
    constraint counts check (used >= 0 and held >= 0 and pending >= 0)
) with (fillfactor = 40);

-- `total` only grows, except where a use is given back. Used at T = total - cumulative of the last use that is at or
-- before T - 30 days, or - `pruned`, the cumulative of the last use that is no longer kept.
create table feature_counter (
    account bigint not null,
    feature text not null,
    total bigint not null,
    pruned bigint not null default 0,
    -- No use is earlier than one that was counted before it, even where the clock was set back.
    last_at timestamptz not null,
    primary key (account, feature),
    constraint counts check (total >= pruned and pruned >= 0)
) with (fillfactor = 40);

create table feature_use (
    account bigint not null,
    feature text not null,
    at timestamptz not null,
    units bigint not null,
    cumulative bigint not null,
    hold uuid not null
);
create index feature_use_window on feature_use (account, feature, at, cumulative);

-- What a hold claims; kept with it, so that whoever ends the hold gives back exactly that.
create type claim as (
    -- A meter, or a feature where `starts_at` is null.
    meter text,
    starts_at timestamptz,
    -- At most, and really: `used` is null while the hold is open.
    units bigint,
    used bigint,
    -- Nanocredits for each `per` units beyond the allowance, as it was when the request was admitted.
    allowance bigint,
    price bigint,
    per bigint,
    -- Nanocredits for units beyond the allowance: what was set aside for them, then what was charged.
    charge bigint
);

-- Who pays for what the request can cost: its plan, a kind of lot, or the customer later.
create type layer as enum ('included', 'promotional', 'purchased', 'overage');

alter table hold add column claims claim[], add column layer layer;
alter table usage_record add column layer layer, add column overage bigint not null default 0;

-- The part of an account's credits that burns after its promotional lots; null where it has none of these left.
alter table ledger_account add column backing bigint;

create function lots_backing(p_account bigint) returns bigint language sql stable as $$
    select coalesce(sum(remaining) filter (where kind <> 'promotional'), 0)::bigint
    from lot
    where account = p_account and remaining > 0
    having count(*) filter (where kind = 'promotional') > 0
$$;

create function note_backing() returns trigger language plpgsql as $$
begin
    update ledger_account as a
    set backing = lots_backing(a.id)
    where a.id in (select account from changed) and a.backing is distinct from lots_backing(a.id);
    return null;
end
$$;

create trigger backing_of_new after insert on lot
referencing new table as changed for each statement execute function note_backing();
create trigger backing_of_burned after update on lot
referencing new table as changed for each statement execute function note_backing();

update ledger_account as a
set backing = lots_backing(a.id)
from (select distinct account from lot where kind = 'promotional' and remaining > 0) as promoted
where a.id = promoted.account;

-- What `p_units` beyond an allowance cost in nanocredits: exact, rounded up once.
create function price_of(p_units bigint, p_price bigint, p_per bigint) returns bigint language sql immutable as $$
    select case
        when p_price = 0 or p_units <= 0 then 0
        -- Nearly always the product fits, and numeric costs ten times as much.
        when p_units < 1000000000 and p_price < 1000000000 then (p_units * p_price + p_per - 1) / p_per
        -- More than all the credits there can be is as much as that: an absurd count must still end its hold.
        else least(div(p_units::numeric * p_price + p_per - 1, p_per), 4000000000000000000)::bigint
    end
$$;

-- What is used of a feature in the 30 days before `p_now`, of which the last moment does not count any more.
create function feature_used(p_account bigint, p_feature text, p_now timestamptz) returns bigint language sql stable as $$
    select counter.total - coalesce(
        (
            select use.cumulative from feature_use as use
            where use.account = p_account and use.feature = p_feature and use.at <= p_now - interval '720 hours'
            order by use.at desc, use.cumulative desc
            limit 1
        ),
        counter.pruned
    )
    from feature_counter as counter
    where counter.account = p_account and counter.feature = p_feature
$$;

-- When `p_units` more will fit below `p_limit`, if nothing else is used until then; null is never.
create function feature_free_at(
    p_account bigint, p_feature text, p_units bigint, p_limit bigint, p_now timestamptz
) returns timestamptz language sql stable as $$
    select use.at + interval '720 hours'
    from feature_use as use
    where use.account = p_account and use.feature = p_feature and p_units <= p_limit
        and use.at > p_now - interval '720 hours'
        and use.cumulative >= (
            select total + p_units - p_limit from feature_counter where account = p_account and feature = p_feature
        )
    order by use.at, use.cumulative
    limit 1
$$;

-- Take the uses of released holds, none made before `p_since`, out of their window, as if they had never been. All at
-- once: each row after them moves once, however many requests of a customer come to nothing together.
create function give_back_uses(p_account bigint, p_feature text, p_holds uuid[], p_since timestamptz) returns void
language plpgsql as $$
declare
    v_gap record;
    v_units bigint := 0;
begin
    for v_gap in
        with gone as (
            delete from feature_use as use
            where use.account = p_account and use.feature = p_feature and use.at >= p_since and use.hold = any(p_holds)
            returning use.at, use.units, use.cumulative
        )
        select
            at, cumulative, (sum(units) over in_order)::bigint as units,
            lead(at, 1, 'infinity'::timestamptz) over in_order as next_at,
            lead(cumulative, 1, 9223372036854775807) over in_order as next_cumulative
        from gone
        window in_order as (order by at, cumulative)
        order by at, cumulative
    loop
        -- One by one: as a join it could be planned the other way round, over all uses there ever were.
        update feature_use as use
        set cumulative = use.cumulative - v_gap.units
        where use.account = p_account and use.feature = p_feature and use.at between v_gap.at and v_gap.next_at
            and (use.at, use.cumulative) > (v_gap.at, v_gap.cumulative)
            and (use.at, use.cumulative) < (v_gap.next_at, v_gap.next_cumulative);
        v_units := v_gap.units;
    end loop;
    if v_units > 0 then
        update feature_counter as counter
        set total = counter.total - v_units
        where counter.account = p_account and counter.feature = p_feature;
    end if;
end
$$;
