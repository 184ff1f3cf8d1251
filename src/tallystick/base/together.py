"""Several things at once, where what fails with one keeps no other from its end."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

Result = TypeVar("Result")


async def together(things: Iterable[Awaitable[Result]]) -> list[Result]:
    """What they come to, in their order, when all have ended; raises the first failure among them then."""
    results: list[Result] = []
    for one in await asyncio.gather(*things, return_exceptions=True):
        if isinstance(one, BaseException):
            raise one
        results.append(one)
    return results
