-- Everything that is for sale or routed to, as published: append-only (7_partitions.sql), every version stays readable,
-- for usage is repriced from these rows for as long as the usage itself is kept.
-- The one in force at T is the newest with effective_from <= T (then the highest id). `document` is checked by
-- tallystick.catalog before it is written. A retired name has a last version with retired = true.
create table catalog_entry (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('provider', 'cost_profile', 'price', 'route', 'pack')),
    name text not null check (name <> ''),
    effective_from timestamptz not null,
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    retired boolean not null default false,
    -- Whose word it is: 'file' (tallystick apply), 'genai-prices' (prices import), 'cli' (prices set). Only what came
    -- from a file is retired when it leaves the file.
    source text not null check (source in ('file', 'genai-prices', 'cli')),
    published_at timestamptz not null default clock_timestamp()
);
create index catalog_entry_in_force on catalog_entry (kind, name, effective_from desc, id desc);
