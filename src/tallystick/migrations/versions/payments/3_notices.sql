-- What organizations are told: written in the transaction of what it tells of, sent afterwards.
create table notice (
    seq bigint generated always as identity primary key,
    id text not null unique,
    organization text not null references organization,
    type text not null check (type ~ '^[a-z_]+(\.[a-z_]+)+$'),
    -- The same key is told once to an organization.
    key text,
    data jsonb not null check (jsonb_typeof(data) = 'object'),
    at timestamptz not null default clock_timestamp(),
    -- Whether there is a delivery of it for each webhook that wants it.
    matched boolean not null default false,
    unique (organization, key)
);
create index notice_organization on notice (organization, seq);
create index notice_at on notice using brin (at);
create index notice_unmatched on notice (seq) where not matched;

create table mail (
    seq bigint generated always as identity primary key,
    recipient text not null check (recipient <> ''),
    subject text not null,
    body text not null,
    key text unique,
    state text not null default 'waiting' check (state in ('waiting', 'sent', 'failed')),
    attempts integer not null default 0,
    problem text,
    at timestamptz not null default clock_timestamp(),
    retry_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz,
    check ((state = 'sent') = (sent_at is not null))
);
create index mail_waiting on mail (retry_at) where state = 'waiting';
