"""Post an operation's transfers once: the one door for purchases, grants, reversals and adjustments."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InsufficientCreditsError, NotFound

queries = load_queries(__file__, "post.sql")


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """`amount` nanocredits out of `debit`, into `credit`."""

    debit: int
    credit: int
    amount: int


async def post(
    connection: asyncpg.Connection,
    *,
    operation: UUID,
    kind: str,
    transfers: Sequence[Transfer],
    fingerprint: str,
    reverses: UUID | None = None,
) -> bool:
    """True when posted now, False when the same operation with the same fingerprint was posted before.

    Must run inside a READ COMMITTED transaction, which keeps the accounts' lanes locked until it ends: keep it short.
    Raises Conflict for an operation that was posted with another kind or fingerprint, NotFound for an unknown account,
    InsufficientCreditsError when an account would fall below its floor; nothing is written then.
    """
    if not connection.is_in_transaction():
        raise RuntimeError("post() needs the caller's transaction: what is posted commits with what it is for")
    if not transfers:
        raise ValueError("an operation needs a transfer")
    moves = " ".join(f"{transfer.debit}>{transfer.credit}:{transfer.amount}" for transfer in transfers)
    answer = await queries.ledger_post(
        connection,
        operation=operation,
        kind=kind,
        # Other transfers are other content, whether or not the caller's fingerprint tells them apart.
        fingerprint=f"{fingerprint} [{moves}]",
        reverses=reverses,
        debits=[transfer.debit for transfer in transfers],
        credits=[transfer.credit for transfer in transfers],
        amounts=[transfer.amount for transfer in transfers],
    )
    match answer["outcome"]:
        case "posted":
            return True
        case "repeated":
            return False
        case "conflict":
            raise Conflict(f"operation {operation} was posted with other content")
        case "unknown_account":
            raise NotFound(f"there is no account {answer['account']}")
        case "insufficient":
            raise InsufficientCreditsError(answer["available"], answer["required"])
        case outcome:
            raise AssertionError(f"ledger_post answered {outcome}")
