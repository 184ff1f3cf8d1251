-- name: find_charge(hold, account)^
-- Only holds of charges: nobody else but the dispatcher of a call that was sent on may end that, for it would be free.
-- Their first claim is one on a meter, with what the work can come to at most. What was set aside
-- for units beyond the allowance stands on the claim, not on the hold.
select
    state::text as state, amount + (select coalesce(sum(claim.charge), 0) from unnest(claims) as claim)::bigint as reserved,
    (claims[1]).meter as meter, (claims[1]).used as used,
    array(select claim.units from unnest(claims) with ordinality as claim order by claim.ordinality) as units,
    extract(epoch from clock_timestamp() - created_at) * 1000 as age_ms
from hold
where id = :hold and account = :account and dispatcher is null and (claims[1]).starts_at is not null;
