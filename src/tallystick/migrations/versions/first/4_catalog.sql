-- Everything that is for sale or routed to, as published: append-only, every version stays readable.
-- The one in force at T is the newest with effective_from <= T (then the highest id). `document` is checked by
-- tallystick.catalog before it is written. A retired name has a last version with retired = true.
create table catalog_entry (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('provider', 'cost_profile', 'price', 'route', 'pack')),
    name text not null,
    effective_from timestamptz not null,
    document jsonb not null,
    retired boolean not null default false,
    source text not null,
    published_at timestamptz not null default clock_timestamp()
);
create index catalog_entry_in_force on catalog_entry (kind, name, effective_from desc, id desc);
