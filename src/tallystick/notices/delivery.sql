-- name: match^
-- Whoever else matches takes other notices. An endpoint gets what is told from its making on.
with batch as (
    select seq, organization, type, at from notice where not matched order by seq limit :most::bigint
    for update skip locked
),
made as (
    insert into webhook_delivery (notice, endpoint)
    select batch.seq, endpoint.id
    from batch
    join webhook_endpoint as endpoint
        on endpoint.organization = batch.organization and endpoint.enabled and endpoint.created_at <= batch.at
            and webhook_wants(endpoint.types, batch.type)
    on conflict do nothing
    returning id
),
done as (
    update notice set matched = true from batch where notice.seq = batch.seq returning notice.seq
)
select (select count(*) from done) as notices, (select count(*) from made) as deliveries;

-- name: of_endpoint
-- By the notices, which have an order; a delivery's id has none.
select
    delivery.id, notice.id as message, notice.type, delivery.state, delivery.attempts, notice.at,
    case when delivery.state = 'waiting' then delivery.due_at end as due_at
from webhook_delivery as delivery
join notice on notice.seq = delivery.notice
where delivery.endpoint = :endpoint
    and (:state::text is null or delivery.state = :state::text)
    and (
        :before::text is null
        or delivery.notice < (select notice from webhook_delivery where id = :before::text and endpoint = :endpoint)
    )
order by delivery.notice desc
limit :row_limit::bigint;

-- name: attempts
select delivery, at, status, ms, answer from webhook_attempt where delivery = any(:deliveries::text[])
order by delivery, at desc;

-- name: find^
select delivery.endpoint
from webhook_delivery as delivery
join webhook_endpoint as endpoint on endpoint.id = delivery.endpoint
where delivery.id = :id and endpoint.organization = :organization;

-- name: replay!
update webhook_delivery set
    state = 'waiting', attempts = 0, due_at = clock_timestamp(), lease = lease + 1, ended_at = null
where id = :id;

-- name: replay_since$
-- What was only ever sent for a test is not sent again.
with again as (
    insert into webhook_delivery as delivery (notice, endpoint)
    select notice.seq, endpoint.id
    from webhook_endpoint as endpoint
    join notice
        on notice.organization = endpoint.organization and notice.at >= :since::timestamptz
            and webhook_wants(endpoint.types, notice.type) and notice.type <> 'webhook.test'
    where endpoint.id = :endpoint and endpoint.organization = :organization
    on conflict (endpoint, notice) do update set
        state = 'waiting', attempts = 0, due_at = clock_timestamp(), lease = delivery.lease + 1, ended_at = null
    returning 1
)
select count(*) from again;

-- name: send_test!
with told as (
    insert into notice (id, organization, type, data, matched)
    values (:id, :organization, :type, :data, true)
    returning seq
)
insert into webhook_delivery (notice, endpoint) select seq, :endpoint from told;

-- name: is_tested$
select exists (
    select from webhook_delivery as delivery join notice on notice.seq = delivery.notice
    where delivery.endpoint = :endpoint and delivery.state = 'waiting' and notice.type = :type
);
