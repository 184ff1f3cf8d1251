-- name: clock$
select clock_timestamp();

-- name: gateway_usage
-- One row too many tells that the range holds more than is read at once: no part of a sum is shown as a sum.
select
    "group", count(*) as rows, sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
    sum(charge - overage) as models, sum(overage) as overage
from (
    select
        case :group_by::text
            when 'day' then to_char(at at time zone 'UTC', 'YYYY-MM-DD')
            when 'key' then api_key
            when 'model' then alias
        end as "group",
        input_tokens, output_tokens, charge, overage
    from usage_record
    where account = :account and at >= :from_at and at < :to_at
    limit :rows_max::bigint + 1
) as record
group by "group";

-- name: gateway_overage
-- What requests paid for units beyond allowances stands with the claims of their holds.
select
    case :group_by::text
        when 'day' then to_char(record.at at time zone 'UTC', 'YYYY-MM-DD')
        when 'key' then record.api_key
        when 'model' then record.alias
    end as "group",
    claim.meter, sum(claim.charge) as charge
from usage_record as record
join lateral (select claims from hold where hold.id = record.id limit 1) as hold on true,
    unnest(hold.claims) as claim
where record.account = :account and record.at >= :from_at and record.at < :to_at
    and record.overage > 0 and claim.charge > 0
group by 1, 2;

-- name: event_usage
-- As the gateway's, from the report's own index alone.
select "group", meter, count(*) as rows, sum(increase) as units, sum(charge) as charge
from (
    select
        case :group_by::text
            when 'day' then to_char(at at time zone 'UTC', 'YYYY-MM-DD')
            when 'key' then api_key
            when 'model' then model
        end as "group",
        meter, increase, charge
    from usage_event
    where account = :account and at >= :from_at and at < :to_at
        and (:meter::text is null or meter = :meter::text)
    limit :rows_max::bigint + 1
) as event
group by "group", meter;
