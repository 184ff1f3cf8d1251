create table organization (
    id text primary key,
    name text not null check (name <> ''),
    account bigint not null unique references ledger_account,
    state text not null default 'active' check (state in ('active', 'suspended')),
    default_max_tokens integer check (default_max_tokens > 0),
    created_at timestamptz not null default clock_timestamp()
);

create table app_user (
    id text primary key,
    email text not null unique check (email = lower(email)),
    password_hash text not null,
    personal_organization text not null references organization,
    created_at timestamptz not null default clock_timestamp()
);

create table member (
    organization text not null references organization,
    user_id text not null references app_user,
    role text not null check (role in ('owner', 'admin', 'billing', 'developer', 'viewer')),
    primary key (organization, user_id)
);
create index member_user on member (user_id);

-- Named to stay clear of the SQL keyword SESSION. `hash` is the SHA-256 of the token: a dump signs nobody in.
create table user_session (
    hash bytea primary key check (length(hash) = 32),
    user_id text not null references app_user,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    revoked_at timestamptz
);
create index user_session_user on user_session (user_id);

-- How often something was tried lately, for the throttle. `subject` is a SHA-256 of what is counted, so that no list
-- of addresses, or of e-mails that someone tried, is kept.
create table sign_in_attempt (
    subject bytea primary key check (length(subject) = 32),
    attempts integer not null check (attempts >= 0),
    ends_at timestamptz not null
);
create index sign_in_attempt_ends_at on sign_in_attempt (ends_at);

create table api_key (
    id text primary key,
    organization text not null references organization,
    name text not null check (name <> ''),
    prefix text not null,
    hash bytea not null unique check (length(hash) = 32),
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz
);
create index api_key_organization on api_key (organization);

-- Provider secrets at rest: AES-GCM, bound to (owner, name) so that a sealed value copied to another row is useless.
create table credential (
    owner text not null,
    name text not null,
    key_id text not null,
    sealed bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (owner, name)
);
