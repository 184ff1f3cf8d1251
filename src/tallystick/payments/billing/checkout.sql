-- name: is_billed$
-- Whether Stripe bills a subscription of the organization, as far as we have looked.
select exists (
    select from subscription where organization = :organization and ended_at is null and stripe_subscription is not null
) or exists (
    select from stripe_subscription
    where organization = :organization and livemode = :livemode
        and status in ('trialing', 'active', 'past_due', 'unpaid', 'paused')
);

-- name: had_one$
select exists (select from subscription where organization = :organization)
    or exists (select from stripe_subscription where organization = :organization and livemode = :livemode
               and status <> 'incomplete_expired');

-- name: find_same^
-- The page that was asked for lately in the same words.
select * from billing_checkout
where organization = :organization and livemode = :livemode and state in ('created', 'open')
    and stripe_price = :stripe_price and plan_version = :plan_version and trial_days = :trial_days
    and success_url = :success_url and cancel_url = :cancel_url
    and created_at > clock_timestamp() - interval '1 hour'
order by created_at desc
limit 1;

-- name: keep^
insert into billing_checkout (
    id, organization, livemode, plan_version, stripe_price, trial_days, success_url, cancel_url, asked_by
) values (
    :id, :organization, :livemode, :plan_version, :stripe_price, :trial_days, :success_url, :cancel_url, :asked_by
)
returning *;

-- name: attempt$
update billing_checkout set attempts = attempts + 1 where id = :id returning attempts;

-- name: open!
-- A twin of this request may have been answered before: its page stays the one. Where another page led to a
-- subscription meanwhile, this one is to be closed again.
update billing_checkout
set state = case state when 'expired' then 'superseded' else 'open' end, stripe_session = :session, url = :url
where id = :id and stripe_session is null;

-- name: page^
select state, url from billing_checkout where id = :id;

-- name: fail!
update billing_checkout set state = 'failed' where id = :id and state = 'created';

-- name: complete!
update billing_checkout set state = 'completed'
where stripe_session = :session and organization = :organization and state <> 'completed';

-- name: expire!
update billing_checkout set state = 'expired'
where stripe_session = :session and organization = :organization and state in ('open', 'superseded');

-- name: supersede!
-- Once one of them has led to a subscription.
update billing_checkout set state = case state when 'open' then 'superseded' else 'expired' end
where organization = :organization and livemode = :livemode and state in ('created', 'open')
    and stripe_session is distinct from :session;

-- name: superseded
select id, stripe_session from billing_checkout
where state = 'superseded' and livemode = :livemode
order by id
limit :row_limit;

-- name: closed!
update billing_checkout set state = 'expired' where id = :id and state = 'superseded';
