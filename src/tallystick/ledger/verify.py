"""Checks of the ledger's laws, right on a live system: each reads only the caller's REPEATABLE READ snapshot.

The numbers are those of docs: 1 double entry, 2 floors, 3 holds end once, 5 charges recompute, 9 idempotency,
10 history, 12 conservation.
"""

from typing import Final, NamedTuple

import asyncpg

from tallystick.base.database import load_queries
from tallystick.ledger.check import Check, by_query

queries = load_queries(__file__, "verify.sql")


class Block(NamedTuple):
    """A block of the hash chain, which vouches for all of history up to it."""

    number: int
    hash: str


async def newest_block(connection: asyncpg.Connection) -> Block | None:
    """What can be kept elsewhere as an anchor; None where nothing is sealed yet."""
    row = await queries.newest_block(connection)
    return None if row is None else Block(*row)


def anchored(hash_: str) -> Check:
    """The chain alone does not tell that its end was taken away. Whoever kept the hash of a block elsewhere can."""

    async def run(connection: asyncpg.Connection) -> list[str]:
        if await queries.has_block(connection, hash=hash_):
            return []
        return [f"no block has the hash {hash_}: it was taken away, or history before it was rewritten"]

    return Check(10, "the anchor is a block of the chain", run)


checks: Final = (
    Check(1, "debits and credits are equal", by_query(queries, "sum_is_zero")),
    Check(1, "every balance is the sum of its transfers", by_query(queries, "posted_is_fold_of_transfers")),
    Check(1, "what is held is the sum of the open holds", by_query(queries, "held_is_sum_of_open_holds")),
    Check(2, "no account stands below its floor", by_query(queries, "above_floor")),
    Check(2, "the database refuses an account below its floor", by_query(queries, "floor_is_enforced")),
    Check(3, "no hold outlives its time", by_query(queries, "holds_end")),
    Check(5, "every call to a provider names what it was priced by", by_query(queries, "calls_name_their_prices")),
    Check(9, "no operation is posted twice", by_query(queries, "posted_once")),
    Check(9, "every posting is in the register", by_query(queries, "registered")),
    Check(10, "the chain of hashes verifies", by_query(queries, "chain_is_whole")),
    Check(10, "history is append-only", by_query(queries, "append_only_is_enforced")),
    Check(12, "deposits less refunds, usage and expiry are the balances", by_query(queries, "conserved")),
    Check(12, "lots cover the balances", by_query(queries, "lots_cover_balances")),
    Check(7, "a reversal is its original with the sign changed", by_query(queries, "reversals_mirror")),
)
