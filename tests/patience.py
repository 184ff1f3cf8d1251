"""Waiting for what comes by itself. Nobody measures how long that takes: the limit is for what never comes."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Final

PATIENCE_S: Final = 60
"""A loaded machine stalls for seconds at a time, and takes seconds to start a process."""
NEVER_S: Final = 3600.0
"""What is due after so long does not happen in a test."""


async def eventually(reached: Callable[[], object | Awaitable[object]], every_s: float = 0.01) -> None:
    """Until it is true. What it asks may be awaited."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = reached()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(every_s)
