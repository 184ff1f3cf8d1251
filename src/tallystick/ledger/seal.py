"""Seal what is committed into a chain of hashes, so that history cannot be rewritten without a trace.

The hash of a block is SHA-256 over the previous hash, then a line for each transfer and a line for each audit event, in
the order of their `seq`, each ended by a newline, in UTF-8. A transfer's line is
`seq|microseconds since 1970|debit|credit|amount|kind|operation`; an audit event's is
`audit|seq|microseconds since 1970|organization|act|done_by|origin|subject|before|after`, where each text stands as
`length in bytes:text` and a null as `-`.
"""

import asyncio
from typing import Final

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.ledger.account import lock_all_lanes

queries = load_queries(__file__, "seal.sql")
log = structlog.get_logger()

BLOCK_SEQS: Final = 10_000
_LOOKS: Final = 100
_LOOK_PAUSE_S: Final = 0.02


async def seal(pool: asyncpg.Pool) -> int:
    """Seal every transfer committed by now, and every audit event where no transaction that may still add one before
    it goes on for long; returns how many blocks that took. Any number of sealers may run."""
    blocks = 0
    async with pool.acquire() as connection:
        audit_reached, audit_upper = await _audit_bounds(connection)
        async with connection.transaction():
            # While no lane can write, everything numbered so far is committed or never will be.
            await lock_all_lanes(connection)
            upper: int = await queries.last_seq(connection)
        # Hashed after the lanes are free again: what is below `upper` cannot change any more.
        reached: int = await queries.last_sealed(connection)
        while reached < upper or audit_reached < audit_upper:
            # An old bound seals nothing: another sealer may be ahead.
            reached = min(reached + BLOCK_SEQS, upper)
            audit_reached = min(audit_reached + BLOCK_SEQS, audit_upper)
            async with connection.transaction():
                await queries.lock_chain(connection)
                # None: nothing has these numbers, or another sealer was faster.
                sealed = await queries.seal_block(connection, until=reached, audit_until=audit_reached)
                blocks += sealed is not None
    if blocks:
        log.info("ledger_sealed", blocks=blocks, to_seq=upper)
    return blocks


async def _audit_bounds(connection: asyncpg.Connection) -> tuple[int, int]:
    """From where to where audit events can be sealed: all numbers up to there are committed or never will be.

    Those who write them hold no lock that could be waited for without holding them up. But each had its transaction's
    id before it had its number: once all ids before a later one are over, so are they."""
    bounds = await queries.audit_open(connection)
    if bounds is None:
        return 0, 0
    fence = await queries.audit_fence(connection)
    for _ in range(_LOOKS):
        if await queries.are_older_over(connection, fence=fence):
            return bounds["sealed"], bounds["numbered"]
        await asyncio.sleep(_LOOK_PAUSE_S)
    # Somebody's long transaction. The transfers do not wait for it.
    log.debug("audit_events_not_sealed_yet", numbered=bounds["numbered"])
    return 0, 0
