-- name: horizon()$
-- The oldest transaction still open: whatever commits after this moment is at or above it.
select pg_snapshot_xmin(pg_current_snapshot())::text;

-- name: changes_since(horizon)
-- One row at least, so that the next horizon comes from the very snapshot that the changes were read in.
select now.horizon::text as horizon, change.seq, change.kind, change.subject
from (select pg_snapshot_xmin(pg_current_snapshot()) as horizon) as now
left join change on change.transaction >= cast(cast(:horizon as text) as xid8)
order by change.seq;

-- name: prune()!
-- Looks at the thousand oldest rows only, and leaves those to others that another process is pruning already.
delete from change
where seq in (
    select seq from change
    where seq <= (select max(seq) from (select seq from change order by seq limit 1000) as oldest)
        and at < clock_timestamp() - interval '1 day'
    for update skip locked
);
