-- name: reports
select id, meter, starts_at, units, customer, event_name, identifier, counts_at, state, sent_at, problem
from meter_report
where organization = :organization and livemode = :livemode and counts_at >= :since
order by counts_at;

-- name: confirm!
update meter_report set state = 'confirmed', confirmed_at = clock_timestamp()
where id = any(:ids::bigint[]) and state = 'sent';
