"""A walk through all the orders in which events can be told.

Step by step, on copies of a database: from all that can have been told so far, each of the others next. What can be is
as much as there are sets of events, and ways in which what they leave differs; orders are the ways through it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg

from tests.database import administered, beside, copy, drop, name_of

Tell = Callable[[str, asyncpg.Pool, dict[str, Any]], Awaitable[tuple[Any, str]]]


async def walk(dsn: str, events: Sequence[dict[str, Any]], tell: Tell) -> Any:
    """What is found in the end. `tell` tells one more event to the database it gets, and returns what is found there,
    which must be the same however it came to that, and what else is kept that a later event may depend on."""
    async with administered(dsn) as admin:
        level = {(frozenset[int](), ""): dsn}
        for _ in events:
            following: dict[tuple[frozenset[int], str], str] = {}
            found: dict[frozenset[int], Any] = {}
            for (told, _kept), place in level.items():
                for number in {*range(len(events))} - told:
                    further = beside(dsn, await copy(admin, place))
                    async with asyncpg.create_pool(further, min_size=1, max_size=4) as pool:
                        left, kept = await tell(further, pool, events[number])
                    now = told | {number}
                    assert found.setdefault(now, left) == left, [events[one]["type"] for one in now]
                    # One stands for all that are alike.
                    if following.setdefault((now, kept), further) != further:
                        await drop(admin, name_of(further))
                if place != dsn:
                    await drop(admin, name_of(place))
            level = following
        for place in level.values():
            await drop(admin, name_of(place))
    return found[frozenset(range(len(events)))]
