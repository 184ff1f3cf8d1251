-- name: count_attempt(subject, window_s)^
-- One upsert, so that attempts made at once from many processes are all counted.
insert into sign_in_attempt as counted (subject, attempts, ends_at)
values (:subject, 1, clock_timestamp() + make_interval(secs => :window_s))
on conflict (subject) do update set
    attempts = case when counted.ends_at <= clock_timestamp() then 1 else counted.attempts + 1 end,
    ends_at = case when counted.ends_at <= clock_timestamp() then excluded.ends_at else counted.ends_at end
returning attempts, greatest(1, ceil(extract(epoch from ends_at - clock_timestamp())))::integer as seconds_left;

-- name: take_back_attempt(subject)!
update sign_in_attempt set attempts = attempts - 1 where subject = :subject and attempts > 0;

-- name: forget_attempts(subject)!
delete from sign_in_attempt where subject = :subject;

-- name: prune_attempts()!
delete from sign_in_attempt
where subject in (
    select subject from sign_in_attempt where ends_at < clock_timestamp()
    order by ends_at limit 10 for update skip locked
);
