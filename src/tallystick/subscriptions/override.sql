-- name: replace!
insert into organization_override (organization, quotas, rates, credit_limit, metered_enabled)
values (:organization, :quotas, :rates, :credit_limit, :metered_enabled)
on conflict (organization) do update set
    quotas = excluded.quotas, rates = excluded.rates, credit_limit = excluded.credit_limit,
    metered_enabled = excluded.metered_enabled, changed_at = clock_timestamp();
