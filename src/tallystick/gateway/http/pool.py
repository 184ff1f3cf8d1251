"""The connections that are open: kept for the next call to the same address, closed when nobody needs them."""

import asyncio
from collections import defaultdict
from typing import Final

import structlog

from tallystick.base.errors import UpstreamFailed, UpstreamTimeout
from tallystick.gateway.http.address import Address
from tallystick.gateway.http.connection import Connection, Waits
from tallystick.gateway.http.dial import Dialler
from tallystick.gateway.http.reply import Reply
from tallystick.gateway.http.slots import Slots

log = structlog.get_logger()

_IDLE_S: Final = 15.0
_LOOK_S_MAX: Final = 1.0


class Pool:
    """Start it in the event loop that it works in, and stop it when the last call has ended."""

    def __init__(self, dialler: Dialler, waits: Waits, *, connect_s: float, connections_max: int) -> None:
        self._dialler = dialler
        self._waits = waits
        self._connect_s = connect_s
        self._connections_max = connections_max
        self._slots = Slots(connections_max)
        self._busy: set[Connection] = set()
        # The one that was used last is used next, so that those too many grow old.
        self._idle: defaultdict[Address, list[Connection]] = defaultdict(list)
        # How late a timeout may be noticed: a twentieth of it.
        self._look_s = min(_LOOK_S_MAX, waits.first_byte_s / 20, waits.between_s / 20)
        self._look: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._look = asyncio.get_running_loop().call_later(self._look_s, self._look_after)

    async def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
        for connection in (*self._busy, *(one for idle in self._idle.values() for one in idle)):
            connection.close()
        self._idle.clear()
        # Each is told of its end in the next round of the event loop.
        await asyncio.sleep(0)

    async def send(self, address: Address, head: bytes, body: bytes) -> Reply:
        """One call on a connection of its own. Raises UpstreamFailed, UpstreamTimeout."""
        await self._slots.take()
        try:
            connection = self._kept(address) or await self._open(address)
        except BaseException:
            self._slots.give_back()
            raise
        self._busy.add(connection)
        return connection.send(head, body)

    def _kept(self, address: Address) -> Connection | None:
        idle = self._idle[address]
        while idle:
            connection = idle.pop()
            if connection.is_fresh():
                return connection
            connection.close()
        return None

    async def _open(self, address: Address) -> Connection:
        self._make_room()
        try:
            async with asyncio.timeout(self._connect_s):
                made = await self._dialler.dial(address, lambda: Connection(address, self._waits, self._over))
        except TimeoutError as error:
            log.warning("provider_not_reached", address=address.authority, error="timeout")
            raise UpstreamTimeout("The provider did not answer in time.") from error
        except (OSError, UnicodeError) as error:
            # An operator has to know that, say, a certificate has expired; a customer does not.
            log.warning("provider_not_reached", address=address.authority, error=repr(error))
            raise UpstreamFailed("The provider cannot be reached.") from error
        if not made.is_open():
            # Nobody would tell of its end a second time.
            raise UpstreamFailed("The provider cannot be reached.")
        return made

    def _make_room(self) -> None:
        """Never more than `connections_max` are open: one that is idle gives way to one that is needed."""
        kept = [idle for idle in self._idle.values() if idle]
        if kept and self._slots.taken + sum(map(len, kept)) > self._connections_max:
            min(kept, key=lambda idle: idle[0].idle_since).pop(0).close()

    def _over(self, connection: Connection) -> None:
        self._busy.discard(connection)
        self._slots.give_back()
        if connection.is_open():
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle[connection.address].append(connection)

    def _look_after(self) -> None:
        """End the calls whose time is up, and the connections that nobody has needed for a while."""
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(self._look_s, self._look_after)
        now = loop.time()
        for connection in [one for one in self._busy if one.due <= now]:
            connection.time_out()
        for address, idle in list(self._idle.items()):
            for connection in idle:
                if connection.idle_since <= now - _IDLE_S:
                    connection.close()
            idle[:] = [connection for connection in idle if connection.is_open()]
            if not idle:
                del self._idle[address]
