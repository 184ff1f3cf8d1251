-- Every act that has to do with billing: who did it, from where, and what it changed. Append-only.
create table audit_event (
    -- First, so that it is known before `seq` is: who waits until all transactions below a certain one are over has all
    -- of the numbers that were given out until then.
    transaction xid8 not null default pg_current_xact_id(),
    seq bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    -- Null for what concerns the whole installation, such as a catalog.
    organization text references organization,
    act text not null check (act <> ''),
    -- Who: a user's id, 'operator:ada', 'stripe', 'clock'.
    done_by text not null check (done_by <> ''),
    -- From where: a network address, 'cli', 'upkeep', a webhook's event.
    origin text not null check (origin <> ''),
    -- What it was done to: an order, a member, a plan.
    subject text not null,
    -- JSON as text: the chain of hashes is over these very characters.
    before text,
    after text
);
create index audit_event_organization on audit_event (organization, seq);
create index audit_event_subject on audit_event (subject, seq);
select make_append_only('audit_event');
