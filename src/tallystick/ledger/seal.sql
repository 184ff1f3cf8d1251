-- name: last_seq$
select coalesce(pg_sequence_last_value(pg_get_serial_sequence('transfer', 'seq')::regclass), 0);

-- name: last_sealed$
select coalesce((select to_seq from ledger_block order by number desc limit 1), 0);

-- name: audit_open^
-- How far audit events are sealed, and how far they are numbered where one of them is not sealed yet.
select sealed, coalesce(pg_sequence_last_value(pg_get_serial_sequence('audit_event', 'seq')::regclass), 0) as numbered
from (select coalesce(max(audit_to), 0) as sealed from ledger_block) as so_far
where exists (select from audit_event where seq > sealed);

-- name: audit_fence$
-- Of a transaction of its own, begun when the numbers were read: whoever has one of them is older.
select pg_current_xact_id()::text;

-- name: are_older_over$
select pg_snapshot_xmin(pg_current_snapshot()) > cast(cast(:fence as text) as xid8);

-- name: lock_chain^
select pg_advisory_xact_lock(31251);

-- name: seal_block$
-- The first block continues a fixed hash; an empty stretch makes no block.
insert into ledger_block (number, after_seq, to_seq, transfers, audit_to, previous, hash)
select
    last.number + 1, last.to_seq, coalesce(body.to_seq, last.to_seq), body.transfers, audit.to_seq, last.hash,
    sha256(last.hash || coalesce(body.lines, '') || coalesce(audit.lines, ''))
from (
    (select number, to_seq, hash from ledger_block order by number desc limit 1)
    union all
    select 0, 0, sha256('tallystick') where not exists (select from ledger_block)
) as last
cross join (select coalesce(max(audit_to), 0) as audit_to from ledger_block) as so_far
cross join lateral ledger_lines(last.to_seq, :until::bigint) as body
cross join lateral audit_lines(so_far.audit_to, :audit_until::bigint) as audit
where body.transfers > 0 or audit.to_seq is not null
returning number;
