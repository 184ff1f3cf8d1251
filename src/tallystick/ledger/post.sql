-- name: ledger_post^
select outcome, account, available, required
from ledger_post(
    :operation::uuid, :kind, :fingerprint, :reverses::uuid, :debits::bigint[], :credits::bigint[], :amounts::bigint[]
);
