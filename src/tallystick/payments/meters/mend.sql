-- name: send_again!
-- Refused, or taken and not there. Whether Stripe has one that it knew more than a day ago, its sum tells first.
update meter_report
set state = 'waiting', retry_at = clock_timestamp(), sent_at = null, confirmed_at = null
where id = any(:ids::bigint[]) and state in ('sent', 'confirmed', 'failed') and not canceling;

-- name: mark!
-- The newest of the hour first, until nothing is too much any more: what is then too little is told anew.
with candidate as (
    select id, units, sum(units) over (order by revision desc, starts_at desc, id desc) as together
    from meter_report
    where organization = :organization and livemode = :livemode and meter = :meter
        and starts_at >= :from_at and starts_at < :to_at
        and state in ('sent', 'confirmed') and sent_at > clock_timestamp() - :within::interval
)
update meter_report as report
set canceling = true
from candidate
where report.id = candidate.id and candidate.together - candidate.units < :excess;

-- name: marked
select id, customer, event_name, identifier, units, counts_at
from meter_report
where organization = :organization and livemode = :livemode and canceling and state in ('sent', 'confirmed')
order by id;

-- name: canceled$
update meter_report set state = 'canceled', canceling = false where id = :id and canceling returning id;

-- name: unmark!
update meter_report set canceling = false where id = :id and canceling;
