-- name: take^
-- Twice as long after each attempt, from half a minute to ten: also the time in which nobody else takes it.
with due as (
    select id, first_attempt_at, attempted_at
    from meter_report
    where livemode = :livemode and state = 'waiting' and retry_at <= clock_timestamp()
    order by retry_at
    limit 1
    for update skip locked
)
update meter_report as report
set
    attempts = report.attempts + 1,
    attempted_at = clock_timestamp(),
    first_attempt_at = coalesce(report.first_attempt_at, clock_timestamp()),
    retry_at = clock_timestamp()
        + least(interval '10 minutes', interval '30 seconds' * power(2, least(report.attempts, 10)))
from due
where report.id = due.id
returning
    report.id, report.organization, report.livemode, report.meter, report.starts_at, report.ends_at,
    report.period_ends_at, report.customer, report.event_name, report.identifier, report.units, report.counts_at,
    due.first_attempt_at, due.attempted_at as last_attempt_at, report.attempted_at as at;

-- name: note!
-- What another has found out meanwhile, of an attempt that took very long, stays.
update meter_report
set
    state = :state,
    problem = :problem,
    sent_at = case when :state in ('sent', 'confirmed') then coalesce(sent_at, clock_timestamp()) end,
    confirmed_at = case when :state = 'confirmed' then clock_timestamp() end
where id = :id and state = 'waiting';

-- name: move!
update meter_report
set counts_at = :counts_at, period_ends_at = :period_ends_at
where id = :id and state = 'waiting';
