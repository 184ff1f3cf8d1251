-- name: last_seq$
select coalesce(pg_sequence_last_value(pg_get_serial_sequence('transfer', 'seq')::regclass), 0);

-- name: last_sealed$
select coalesce(max(to_seq), 0) from ledger_block;

-- name: lock_chain^
select pg_advisory_xact_lock(31251);

-- name: seal_block$
-- The first block continues a fixed hash; an empty stretch makes no block.
insert into ledger_block (number, after_seq, to_seq, transfers, previous, hash)
select last.number + 1, last.to_seq, body.to_seq, body.transfers, last.hash, sha256(last.hash || body.lines)
from (
    (select number, to_seq, hash from ledger_block order by number desc limit 1)
    union all
    select 0, 0, sha256('tallystick') where not exists (select from ledger_block)
) as last
cross join lateral ledger_lines(last.to_seq, :until::bigint) as body
where body.transfers > 0
returning number;
