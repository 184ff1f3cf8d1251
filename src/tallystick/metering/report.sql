-- name: clock$
select clock_timestamp();

-- name: gateway_usage
-- One row too many tells that the range holds more than is read at once: no part of a sum is shown as a sum. Charges
-- for other work have claims on the meters that they are for, and are no requests.
select
    "group", count(*) as rows, count(*) filter (where endpoint <> 'charge') as requests, sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
    sum(input_tokens + output_tokens) as llm_inferences, sum(charge - overage) as dollars, count(layer) as claiming
from (
    select
        case :group_by::text
            when 'day' then to_char(at at time zone 'UTC', 'YYYY-MM-DD')
            when 'key' then api_key
            when 'model' then case when endpoint <> 'charge' then alias end
        end as "group",
        endpoint, input_tokens, output_tokens, charge, overage, layer
    from usage_record
    where account = :account and at >= :from_at and at < :to_at
    limit :rows_max::bigint + 1
) as record
group by "group";

-- name: gateway_claims
-- What requests claimed of a plan is counted, and charged, as their holds say: nothing where the hold was released, and
-- what models are worth even where the plan pays for them. `units` is by how much that differs from the records.
select
    case :group_by::text
        when 'day' then to_char(record.at at time zone 'UTC', 'YYYY-MM-DD')
        when 'key' then record.api_key
        when 'model' then case when record.endpoint <> 'charge' then record.alias end
    end as "group",
    claim.meter,
    sum(
        case when hold.state = 'settled' then coalesce(claim.used, 0) else 0 end - case claim.meter
            when 'requests' then case when record.endpoint <> 'charge' then 1 else 0 end
            when 'input_tokens' then record.input_tokens
            when 'output_tokens' then record.output_tokens
            when 'llm_inferences' then record.input_tokens + record.output_tokens
            when 'dollars' then record.charge - record.overage
            else 0
        end
    ) as units,
    sum(case when hold.state = 'settled' then coalesce(claim.charge, 0) else 0 end) as charge
from usage_record as record
join lateral (select state, claims from hold where hold.id = record.id limit 1) as hold on true,
    unnest(hold.claims) as claim
where record.account = :account and record.at >= :from_at and record.at < :to_at
    and record.layer is not null and claim.starts_at is not null
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
