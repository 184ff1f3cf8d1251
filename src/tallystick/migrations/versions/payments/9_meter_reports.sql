-- What Stripe is told of usage that it bills. A row is part of the units of one meter in one stretch of time, at most an
-- hour: the first is all that was recorded when the hour had ended, the next ones are what was recorded of it later.

create table meter_report (
    id bigint generated always as identity primary key,
    organization text not null references organization,
    livemode boolean not null,
    meter text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    revision integer not null check (revision > 0),
    units bigint not null check (units > 0),
    -- The billing period at Stripe in which it counts ends here.
    period_ends_at timestamptz not null,
    -- What Stripe is told: who, of which meter, under which name, and when it was.
    customer text not null,
    event_name text not null,
    identifier text not null unique,
    counts_at timestamptz not null,
    state text not null default 'waiting' check (state in ('waiting', 'sent', 'confirmed', 'failed', 'canceled')),
    attempts integer not null default 0,
    -- Why it is as it is: Stripe's refusal, or what made the last attempt's outcome unknown.
    problem text,
    -- Stripe is asked to take it back: the answer may be missing.
    canceling boolean not null default false,
    written_at timestamptz not null default clock_timestamp(),
    first_attempt_at timestamptz,
    attempted_at timestamptz,
    retry_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz,
    confirmed_at timestamptz,
    unique (organization, livemode, meter, starts_at, revision),
    check (starts_at < ends_at),
    check ((attempts > 0) = (attempted_at is not null) and (attempts > 0) = (first_attempt_at is not null)),
    check (state not in ('sent', 'confirmed') or sent_at is not null)
);
-- One event a minute, for good: the sum that Stripe holds of that minute tells whether it has the event.
create unique index meter_report_minute
on meter_report (customer, event_name, date_bin('1 minute', counts_at, '2000-01-01 00:00:00+00'));
create index meter_report_waiting on meter_report (livemode, retry_at) where state = 'waiting';
create index meter_report_counts on meter_report (organization, livemode, starts_at);

-- When all hours of an organization that can still change were last looked at, not only the newest.
create table meter_look (
    organization text not null references organization,
    livemode boolean not null,
    looked_at timestamptz not null,
    primary key (organization, livemode)
);

-- What requests used of an account's billing period until a moment, before which nothing of it is written any more: for
-- who looks at it again. Without a row all of the period is read.
create table period_usage (
    account bigint primary key references ledger_account,
    starts_at timestamptz not null,
    until timestamptz not null check (until > starts_at),
    agent_sessions bigint not null check (agent_sessions >= 0),
    llm_tokens bigint not null check (llm_tokens >= 0)
);
