"""Do something for many organizations, each in a transaction of its own, no failure in another's way."""

from collections.abc import AsyncIterable, Awaitable, Callable
from itertools import count
from typing import Final

import asyncpg
import structlog

from tallystick.base.errors import TallystickError

PAGE: Final = 100

# Of one organization's data. What is wrong with the connection is wrong for all of them, and stops at once.
_ITS_OWN: Final = (TallystickError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)

log = structlog.get_logger()

Find = Callable[[asyncpg.Connection, str], AsyncIterable[asyncpg.Record]]
"""The next page, at most, of organizations behind the one that is named, in order."""


async def each(
    pool: asyncpg.Pool,
    find: Find,
    work: Callable[[asyncpg.Connection, str], Awaitable[bool]],
    *,
    progress: Callable[[int], None] = lambda _done: None,
    pages_max: int | None = None,
) -> int:
    """Call `work` for every organization that `find` finds; returns for how many it did something. `progress` hears
    that number after each page. The first failure is raised at the end."""
    done, after, failure = 0, "", None
    for _ in count() if pages_max is None else range(pages_max):
        async with pool.acquire() as connection:
            organizations = [row["organization"] async for row in find(connection, after)]
            for organization in organizations:
                try:
                    done += await work(connection, organization)
                except _ITS_OWN as error:
                    log.error("not_done_for_one", organization=organization, error=repr(error))  # noqa: TRY400 - named
                    failure = failure or error
        if organizations:
            after = organizations[-1]
            progress(done)
        if len(organizations) < PAGE:
            break
    if failure is not None:
        raise failure
    return done
