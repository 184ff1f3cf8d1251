-- name: clock$
select clock_timestamp();

-- name: looked_at$
select looked_at from meter_look where organization = :organization and livemode = :livemode;

-- name: look!
insert into meter_look (organization, livemode, looked_at) values (:organization, :livemode, :looked_at)
on conflict (organization, livemode) do update set looked_at = greatest(meter_look.looked_at, excluded.looked_at);

-- name: write!
-- The caller has the organization's turn; twice the same revision would break a unique key all the same.
insert into meter_report (
    organization, livemode, meter, starts_at, ends_at, revision, units, period_ends_at, customer, event_name,
    identifier, counts_at, state, problem
) values (
    :organization, :livemode, :meter, :starts_at, :ends_at, :revision, :units, :period_ends_at, :customer, :event_name,
    :identifier, :counts_at, :state, :problem
);
