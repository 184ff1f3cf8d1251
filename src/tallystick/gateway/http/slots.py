"""How many calls may be under way at once; the others wait in line."""

import asyncio
from collections import deque


class Slots:
    """Handed on in the order of waiting: one who comes later never overtakes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.taken = 0

    async def take(self) -> None:
        if self.taken < self._most:
            self.taken += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiting.remove(waiter)
            else:
                self.give_back()  # it came at the same moment
            raise

    def give_back(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.taken -= 1
