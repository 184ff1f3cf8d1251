"""Seal what is committed into a chain of hashes, so that history cannot be rewritten without a trace.

The hash of a block is SHA-256 over the previous hash and, per transfer in the order of `seq`, the line
`seq|microseconds since 1970|debit|credit|amount|kind|operation` ended by a newline, in UTF-8.
"""

from typing import Final

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.ledger.account import lock_all_lanes

queries = load_queries(__file__, "seal.sql")
log = structlog.get_logger()

BLOCK_SEQS: Final = 10_000


async def seal(pool: asyncpg.Pool) -> int:
    """Seal every transfer committed by now; returns how many blocks that took. Any number of sealers may run."""
    blocks = 0
    async with pool.acquire() as connection:
        async with connection.transaction():
            # While no lane can write, everything numbered so far is committed or never will be.
            await lock_all_lanes(connection)
            upper: int = await queries.last_seq(connection)
        # Hashed after the lanes are free again: what is below `upper` cannot change any more.
        reached: int = await queries.last_sealed(connection)
        while reached < upper:
            reached = min(reached + BLOCK_SEQS, upper)
            async with connection.transaction():
                await queries.lock_chain(connection)
                # None: no transfer has these numbers, or another sealer was faster.
                blocks += await queries.seal_block(connection, until=reached) is not None
    if blocks:
        log.info("ledger_sealed", blocks=blocks, to_seq=upper)
    return blocks
