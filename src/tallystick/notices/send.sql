-- name: take
-- The most overdue of each endpoint that nobody here is sending to, so that none waits behind another's backlog. They
-- are all asked, but only where something is due at all. (An index is not looked into for a clock that moves meanwhile.)
with due as (
    select next.id
    from webhook_endpoint as endpoint
    cross join lateral (
        select id, due_at from webhook_delivery
        where endpoint = endpoint.id and state = 'waiting' and due_at <= statement_timestamp()
        order by due_at limit case when endpoint.failing_since is null then :each::bigint else 1 end
        for update skip locked
    ) as next
    where endpoint.enabled and endpoint.id <> all(:busy::text[])
        and exists (select from webhook_delivery where state = 'waiting' and due_at <= statement_timestamp())
    order by next.due_at
    limit :most::bigint
),
taken as (
    update webhook_delivery as delivery set lease = lease + 1, due_at = clock_timestamp() + :lease::interval
    from due
    where delivery.id = due.id
    returning delivery.id, delivery.lease, delivery.attempts, delivery.endpoint, delivery.notice
)
select
    taken.id, taken.lease, taken.attempts, taken.endpoint, endpoint.organization, endpoint.url, endpoint.key_id,
    endpoint.sealed, notice.id as message, notice.type, notice.at, notice.data,
    clock_timestamp() as now,
    case when endpoint.previous_until > clock_timestamp() then endpoint.previous_key_id end as previous_key_id,
    case when endpoint.previous_until > clock_timestamp() then endpoint.previous_sealed end as previous_sealed
from taken
join webhook_endpoint as endpoint on endpoint.id = taken.endpoint
join notice on notice.seq = taken.notice;

-- name: note_health$
-- For how long every attempt has failed; null where this one has not, or the endpoint is gone.
update webhook_endpoint
set failing_since = case when :taken::boolean then null else coalesce(failing_since, clock_timestamp()) end
where id = :endpoint
returning clock_timestamp() - failing_since;

-- name: note_attempt!
insert into webhook_attempt (delivery, status, ms, answer)
select id, :status::integer, :ms::integer, :answer from webhook_delivery where id = :delivery;

-- name: end_attempt!
-- Nothing where the attempt was taken for lost, or the message was replayed meanwhile.
update webhook_delivery set
    state = :state, attempts = attempts + 1, due_at = clock_timestamp() + :delay::interval,
    ended_at = case when :state <> 'waiting' then clock_timestamp() end
where id = :id and lease = :lease and state = 'waiting';

-- name: is_enabled$
select enabled from webhook_endpoint where id = :endpoint;

-- name: readers
-- Who has the billing permission.
select email from member join app_user on app_user.id = member.user_id
where member.organization = :organization and role in ('owner', 'admin', 'billing')
order by email;
