-- name: prices
select id, plan, plan_version, meter, active from stripe_price where livemode = :livemode order by plan, plan_version, meter;

-- name: keep_price!
insert into stripe_price (id, livemode, plan, plan_version, meter) values (:id, :livemode, :plan, :plan_version, :meter)
on conflict do nothing;

-- name: archive!
update stripe_price set active = false where id = :id;

-- name: meters
select meter, id, event_name from stripe_meter where livemode = :livemode order by meter;

-- name: keep_meter!
insert into stripe_meter (livemode, meter, id, event_name) values (:livemode, :meter, :id, :event_name)
on conflict (livemode, meter) do update set id = excluded.id, event_name = excluded.event_name;
