-- What a batch brings, a row each: an array of rows costs both sides less than an array for each of their columns.

create type hold_entry as (id uuid, account bigint, amount bigint, expires_in_s integer, dispatcher uuid);
-- `units`: null where no claims are known of; empty: as claimed; else what was used, one for each claim of the hold.
create type end_entry as (id uuid, account bigint, actual bigint, units bigint[]);
create type admit_entry as (
    id uuid, account bigint, amount bigint, expires_in_s integer, dispatcher uuid, counted boolean
);
-- In the order of the admissions, of which it names the place, from 1.
create type claim_entry as (
    place integer, meter text, starts_at timestamptz, ends_at timestamptz, units bigint, allowance bigint, cap bigint,
    price bigint, per bigint
);

-- sum() of what surely fits: that of BIGINT counts in numeric, which is slow.
create aggregate small_sum(bigint) (sfunc = int8pl, stype = bigint, initcond = '0', parallel = safe);
