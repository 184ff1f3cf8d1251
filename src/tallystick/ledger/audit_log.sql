-- name: newest
-- The block that vouches for an event is the first that reaches as far.
select
    event.seq, event.at, event.organization, event.act, event.done_by as by, event.origin, event.subject, event.before,
    event.after, block.number as block, encode(block.hash, 'hex') as block_hash
from audit_event as event
left join lateral (
    select number, hash from ledger_block where audit_to >= event.seq order by audit_to limit 1
) as block on true
where (:organization::text is null or event.organization = :organization::text)
    and (:act::text is null or event.act = :act::text)
    and (:act_prefix::text is null or starts_with(event.act, :act_prefix::text))
    and (:subject::text is null or event.subject = :subject::text)
    and (:since::timestamptz is null or event.at >= :since::timestamptz)
    and (:until::timestamptz is null or event.at < :until::timestamptz)
    and (:before_seq::bigint is null or event.seq < :before_seq::bigint)
order by event.seq desc
limit :row_limit::bigint;

-- name: oldest
-- As above, the other way round.
select
    event.seq, event.at, event.organization, event.act, event.done_by as by, event.origin, event.subject, event.before,
    event.after, block.number as block, encode(block.hash, 'hex') as block_hash
from audit_event as event
left join lateral (
    select number, hash from ledger_block where audit_to >= event.seq order by audit_to limit 1
) as block on true
where (:organization::text is null or event.organization = :organization::text)
    and (:act::text is null or event.act = :act::text)
    and (:act_prefix::text is null or starts_with(event.act, :act_prefix::text))
    and (:subject::text is null or event.subject = :subject::text)
    and (:since::timestamptz is null or event.at >= :since::timestamptz)
    and (:until::timestamptz is null or event.at < :until::timestamptz)
    and event.seq > :after_seq::bigint
order by event.seq
limit :row_limit::bigint;
