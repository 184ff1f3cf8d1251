-- name: take
-- Until the lease is over nobody else takes them; then whoever had them is dead.
with due as (
    select seq from mail where state = 'waiting' and retry_at <= statement_timestamp()
    order by retry_at limit :most::bigint
    for update skip locked
)
update mail set retry_at = clock_timestamp() + :lease::interval
from due
where mail.seq = due.seq
returning
    mail.seq, mail.recipient, mail.subject, mail.body, mail.state, mail.attempts, mail.problem, mail.at, mail.retry_at,
    mail.sent_at;

-- name: keep_result!
-- Nothing where another has ended the same attempt.
update mail set
    state = :state, attempts = attempts + 1, problem = :problem, retry_at = clock_timestamp() + :delay::interval,
    sent_at = case when :state = 'sent' then clock_timestamp() end
where seq = :seq and attempts = :attempts and state = 'waiting';
