-- name: moment$
select least(coalesce(:now::timestamptz, clock_timestamp()), clock_timestamp());

-- name: due
-- Who made it is asking, too, for as long as a call can take.
select refund.id
from refund
join payment_order as o on o.id = refund.payment_order
where refund.state = 'asked' and o.livemode = :livemode and refund.retry_at <= clock_timestamp()
    and refund.created_at <= clock_timestamp() - interval '1 minute'
order by refund.retry_at
limit :most;

-- name: postpone!
-- Twice as long after each attempt, up to an hour.
update refund
set attempts = attempts + 1,
    retry_at = clock_timestamp() + least(interval '1 hour', interval '5 seconds' * power(2, least(attempts, 12)))
where id = :id;
