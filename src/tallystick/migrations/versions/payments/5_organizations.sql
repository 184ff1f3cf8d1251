-- What a key may do beside calling the gateway, and who made it: a user's id or 'operator:NAME'; null where that was not
-- kept yet.
alter table api_key
    add column scopes text[] not null default '{}',
    add column created_by text,
    add constraint known_scopes check (scopes <@ array['billing']);

-- What is still to be done for an organization elsewhere: its customer at Stripe, in test mode and in live mode. A row
-- is put here with the organization itself, so that none is forgotten, whoever makes it.
create table provisioning (
    organization text not null references organization,
    livemode boolean not null,
    -- The how-many-th idempotency key is in use, since when, and what went out under it: Stripe wants the same again.
    generation integer not null default 0 check (generation >= 0),
    key_since timestamptz,
    name text,
    email text,
    -- When Stripe was first asked at all: no customer of ours is older.
    began_at timestamptz,
    attempts integer not null default 0 check (attempts >= 0),
    problem text,
    retry_at timestamptz not null default clock_timestamp(),
    done_at timestamptz,
    -- How often the organization was given another name, and from when on its customer may be told of the last one.
    renames bigint not null default 0,
    rename_at timestamptz,
    primary key (organization, livemode),
    check ((generation = 0) = (key_since is null) and (generation = 0) = (began_at is null))
);
create index provisioning_open on provisioning (livemode, retry_at) where done_at is null;
create index provisioning_renamed on provisioning (livemode, rename_at)
where rename_at is not null and done_at is not null;

create function provision_organization() returns trigger language plpgsql as $$
begin
    insert into provisioning (organization, livemode) values (new.id, false), (new.id, true);
    return null;
end
$$;
create trigger provision_organization after insert on organization
for each row execute function provision_organization();

create function rename_organization() returns trigger language plpgsql as $$
begin
    -- Who is telling the name before goes on undisturbed, and finds that there is another one.
    update provisioning set renames = renames + 1, rename_at = coalesce(rename_at, clock_timestamp())
    where organization = new.id;
    return null;
end
$$;
create trigger rename_organization after update of name on organization
for each row when (new.name <> old.name) execute function rename_organization();

insert into provisioning (organization, livemode, done_at)
select organization.id, mode.live, customer.created_at
from organization
cross join (values (false), (true)) as mode (live)
left join stripe_customer as customer on customer.organization = organization.id and customer.livemode = mode.live;

-- An invitation to become a member. `hash` is the SHA-256 of the link's token: a dump lets nobody in.
create table invitation (
    id text primary key,
    organization text not null references organization,
    email text not null check (email = lower(email)),
    role text not null check (role in ('owner', 'admin', 'billing', 'developer', 'viewer')),
    hash bytea not null unique check (length(hash) = 32),
    -- Whoever may invite no more, when it is accepted, invited in vain.
    invited_by text not null references app_user,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    accepted_at timestamptz,
    accepted_by text references app_user,
    revoked_at timestamptz,
    check ((accepted_at is null) = (accepted_by is null)),
    check (accepted_at is null or revoked_at is null)
);
create index invitation_organization on invitation (organization, id);
-- A new one takes the place of the one before.
create unique index invitation_open on invitation (organization, email)
where accepted_at is null and revoked_at is null;

-- Of a customer's own provider key: how it ends, to tell it from others, and where it is sent, if not to the provider's
-- usual address. Sealed together with that address: nobody who can write here can have the key sent elsewhere.
alter table credential
    add column last_four text,
    add column base_url text;
