"""Work on what is due at Stripe, as long as some of it can be claimed."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Final

import asyncpg

from tallystick.base.together import together

AT_ONCE: Final = 10


async def work_off(
    claim: Callable[[], AsyncIterable[asyncpg.Record]], work: Callable[[asyncpg.Record], Awaitable[bool]]
) -> int:
    """`claim` gives at most AT_ONCE rows that nobody else has; returns how many `work` was done with. What fails with
    one keeps no other of them from its turn; it is raised after that."""
    done = 0
    while True:
        rows = [row async for row in claim()]
        done += sum(await together(work(row) for row in rows))
        if len(rows) < AT_ONCE:
            return done
