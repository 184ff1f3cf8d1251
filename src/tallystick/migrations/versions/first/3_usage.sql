-- One row per request that had a hold, written in the transaction that ends the hold. Append-only.
create table usage_record (
    id uuid not null,                 -- the request id: also the hold's and the receipt's
    at timestamptz not null,
    account bigint not null,
    api_key text,
    endpoint text not null,           -- 'chat.completions'
    alias text not null,              -- the model as the customer named it
    provider text not null,
    model text not null,              -- the model as the provider names it
    stream boolean not null,
    input_tokens bigint not null,     -- all input tokens, cached and cache-write ones included
    cached_tokens bigint not null,
    cache_write_tokens bigint not null,
    output_tokens bigint not null,    -- all output tokens, reasoning ones included
    reasoning_tokens bigint not null,
    input_audio_tokens bigint not null,
    output_audio_tokens bigint not null,
    images bigint not null,
    usage_source text not null check (usage_source in ('provider', 'estimated', 'none')),
    cost_id bigint,                   -- catalog_entry ids the request was priced by
    price_id bigint,
    cost bigint not null,             -- nanocredits the provider charges us
    charge bigint not null,           -- nanocredits the customer pays
    reserved bigint not null,         -- nanocredits the hold set aside
    outcome text not null,            -- 'completed', 'client_gone', 'upstream_error', 'truncated', 'empty', 'recovered', ...
    rule text not null,               -- the rule of the outcome policy that decided the charge
    status smallint not null,         -- HTTP status the customer saw; 0 when none was sent
    upstream_id text,
    attempts smallint not null,
    latency_ms integer not null,
    first_byte_ms integer
) partition by range (at);
create index usage_record_account on usage_record (account, at);
create index usage_record_id on usage_record (id);

-- The same columns without `at`, which the database sets: the shape in which a batch brings its usage records.
create type usage_entry as (
    id uuid,
    account bigint,
    api_key text,
    endpoint text,
    alias text,
    provider text,
    model text,
    stream boolean,
    input_tokens bigint,
    cached_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    input_audio_tokens bigint,
    output_audio_tokens bigint,
    images bigint,
    usage_source text,
    cost_id bigint,
    price_id bigint,
    cost bigint,
    charge bigint,
    reserved bigint,
    outcome text,
    rule text,
    status smallint,
    upstream_id text,
    attempts smallint,
    latency_ms integer,
    first_byte_ms integer
);
