-- name: keep!
insert into mail (recipient, subject, body, key) values (:recipient, :subject, :body, :key)
on conflict (key) do nothing;

-- name: newest
select
    seq, recipient, subject, body, state, attempts, problem, at, sent_at,
    case when state = 'waiting' then retry_at end as retry_at
from mail where :state::text is null or state = :state::text
order by seq desc limit :row_limit::bigint; -- An operator's, who has few that match and looks rarely.

-- name: find^
select
    seq, recipient, subject, body, state, attempts, problem, at, sent_at,
    case when state = 'waiting' then retry_at end as retry_at
from mail where seq = :seq;

-- name: retry!
update mail set state = 'waiting', attempts = 0, retry_at = clock_timestamp() where seq = :seq and state <> 'sent';
