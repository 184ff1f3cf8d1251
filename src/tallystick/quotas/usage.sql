-- name: usage(account)
-- One row at least, so that the moment is known where nothing was ever used.
select
    statement_timestamp() as now, counter.feature,
    feature_used(counter.account, counter.feature, statement_timestamp()) as used
from (select) as always
left join feature_counter as counter on counter.account = :account;

-- name: next_use(account, feature, units, row_limit)^
-- An unlimited feature has nothing to wait for.
select
    statement_timestamp() as now,
    coalesce(feature_used(:account, :feature, statement_timestamp()), 0) as used,
    feature_free_at(:account, :feature, :units, :row_limit, statement_timestamp()) as free_at;

-- name: first_leaves_at(account, feature)$
select at + interval '720 hours' from feature_use
where account = :account and feature = :feature and at > statement_timestamp() - interval '720 hours'
order by at
limit 1;

-- name: is_use(hold, account)$
-- Of features and nothing else: counted at once, and given back since or not.
select exists (
    select from hold
    where id = :hold and account = :account and created_at = expires_at and (claims[1]).meter is not null
        and (claims[1]).starts_at is null
);
