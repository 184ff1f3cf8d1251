-- Who is on which plan, and what that comes to for a gateway: the compiled constraints document.

create table subscription (
    id text primary key,
    organization text not null references organization,
    -- The version of the plan that this subscription pins: a newer one changes nothing for it. A foreign key to an
    -- append-only table would need the right to lock its rows, which nobody has; subscription_pins_a_plan checks it.
    plan_version bigint not null,
    status text not null check (status in ('trialing', 'active', 'past_due', 'paused', 'canceled')),
    -- Billing periods are counted from here; a trial's lies at its end.
    anchor timestamptz not null,
    trial_ends_at timestamptz,
    -- A change that waits for the end of the period.
    pending_plan_version bigint,
    pending_at timestamptz,
    cancel_at timestamptz,
    past_due_since timestamptz,
    -- When access ends for who is past due; null once that was noticed.
    grace_ends_at timestamptz,
    stripe_customer text,
    stripe_subscription text unique,
    created_at timestamptz not null,
    ended_at timestamptz,
    check ((pending_plan_version is null) = (pending_at is null)),
    check ((status = 'canceled') = (ended_at is not null)),
    check (status <> 'trialing' or trial_ends_at is not null),
    check (status <> 'past_due' or past_due_since is not null),
    check (grace_ends_at is null or past_due_since is not null)
);
create unique index subscription_live on subscription (organization) where ended_at is null;
create index subscription_organization on subscription (organization, created_at);
create index subscription_plan_version on subscription (plan_version) where ended_at is null;
create index subscription_due on subscription (
    least(pending_at, cancel_at, grace_ends_at, case status when 'trialing' then trial_ends_at end)
) where ended_at is null;

create function refuse_what_is_no_plan() returns trigger language plpgsql as $$
begin
    if exists (
        select from unnest(array[new.plan_version, new.pending_plan_version]) as version
        where version is not null
            and not exists (select from catalog_entry where id = version and kind = 'plan')
    ) then
        raise exception 'subscription % pins what is no version of a plan', new.id using errcode = 'foreign_key_violation';
    end if;
    return new;
end
$$;
create trigger subscription_pins_a_plan before insert or update of plan_version, pending_plan_version on subscription
for each row execute function refuse_what_is_no_plan();

-- Everything that was ever done to an organization's subscription or overrides.
create table subscription_event (
    seq bigint generated always as identity primary key,
    organization text not null references organization,
    subscription text references subscription,
    what text not null check (what <> ''),
    -- Who did it: 'operator', 'clock', a user.
    done_by text not null check (done_by <> ''),
    -- What was due earlier than someone looked took effect earlier than it was written down.
    effective_at timestamptz not null,
    at timestamptz not null default clock_timestamp(),
    before jsonb,
    after jsonb,
    proration jsonb
);
create index subscription_event_organization on subscription_event (organization, seq);
select make_append_only('subscription_event');

-- What was agreed with one organization beside its plan; null is what the plan says.
create table organization_override (
    organization text primary key references organization,
    -- By feature: a limit, or null for unlimited.
    quotas jsonb not null default '{}' check (jsonb_typeof(quotas) = 'object'),
    rates jsonb check (jsonb_typeof(rates) = 'object'),
    credit_limit bigint check (credit_limit >= 0),
    metered_enabled boolean not null default false,
    changed_at timestamptz not null default clock_timestamp()
);

create table constraints (
    organization text primary key references organization,
    version bigint not null check (version > 0),
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    compiled_at timestamptz not null default clock_timestamp(),
    -- What it was compiled from: how many versions of features were in force, and of plans where the default plan
    -- decides (null where a subscription pins one). The catalog only grows, so fewer than now means: old.
    features_read bigint not null,
    plans_read bigint,
    -- By how much the account's floor lies deeper than the document says, because more was owed when it was compiled.
    floor_debt bigint not null default 0 check (floor_debt >= 0)
);
create index constraints_features_read on constraints (features_read);
create index constraints_plans_read on constraints (plans_read) where plans_read is not null;
create index constraints_floor_debt on constraints (organization) where floor_debt > 0;

-- How many versions there are of what documents are compiled from.
create function catalog_read(out features bigint, out plans bigint) language sql stable as $$
    select count(*) filter (where kind = 'feature'), count(*) filter (where kind = 'plan')
    from catalog_entry
    where kind in ('plan', 'feature') and effective_from <= clock_timestamp();
$$;
