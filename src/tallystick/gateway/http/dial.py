"""Open connections: names to addresses, IPv6 and IPv4 in a race, TLS that verifies."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from tallystick.gateway.http.address import Address

# How long one address is waited for before the next is tried beside it (RFC 8305).
_HEAD_START_S: Final = 0.25
# As long as an answer of the resolver is used again: thousands of calls may open connections at once.
_NAME_S: Final = 10.0

_Place = tuple[int, tuple[Any, ...]]
_P = TypeVar("_P", bound=asyncio.Protocol)


class Dialler:
    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        """`trust` is whom TLS believes: by default the authorities that this host believes."""
        self._trust = trust or ssl.create_default_context()
        self._trust.set_alpn_protocols(["http/1.1"])
        self._names: dict[Address, tuple[float, asyncio.Task[list[_Place]]]] = {}

    async def dial(self, address: Address, make: Callable[[], _P]) -> _P:
        """Raises OSError, of which the errors of TLS are a kind."""
        opened = await _race(await self._places(address))
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(
                make,
                sock=opened,
                ssl=self._trust if address.tls else None,
                server_hostname=address.host if address.tls else None,
            )
        except BaseException:
            opened.close()
            raise
        return protocol

    async def _places(self, address: Address) -> list[_Place]:
        """One question to the resolver for all who ask at the same time."""
        loop = asyncio.get_running_loop()
        until, asked = self._names.get(address, (0.0, None))
        if asked is None or loop.time() >= until or (asked.done() and asked.exception() is not None):
            asked = loop.create_task(_resolve(address))
            # Read once, for the case that all who asked have left by the time of its failure.
            asked.add_done_callback(_note_failure)
            self._names[address] = loop.time() + _NAME_S, asked
        # Shielded: one call that is given up does not take the answer from the others.
        return await asyncio.shield(asked)


async def _resolve(address: Address) -> list[_Place]:
    """The addresses of a host, families in turns, in the order in which the resolver prefers them."""
    found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    places: list[_Place] = [(family, place) for family, _, _, _, place in found]
    first = [place for place in places if place[0] == places[0][0]]
    others = [place for place in places if place[0] != places[0][0]]
    turns = [place for pair in zip(first, others, strict=False) for place in pair]
    shorter = min(len(first), len(others))
    return turns + first[shorter:] + others[shorter:]


async def _race(places: list[_Place]) -> socket.socket:
    """The first that connects. The next one starts when the one before has failed, or is slow."""
    if len(places) == 1:
        return await _connect(*places[0])
    left, running = list(places), set[asyncio.Task[socket.socket]]()
    failure: BaseException | None = None
    try:
        while left or running:
            if left:
                running.add(asyncio.create_task(_connect(*left.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=_HEAD_START_S if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for ended in done:
                if (error := ended.exception()) is None:
                    running |= done - {ended}
                    return ended.result()
                failure = error
    finally:
        for other in running:
            other.add_done_callback(_close_late)
            other.cancel()
    raise failure or OSError(f"no address for {places}")


async def _connect(family: int, place: tuple[Any, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, place)
    except BaseException:
        opened.close()
        raise
    return opened


def _note_failure(asked: asyncio.Task[list[_Place]]) -> None:
    if not asked.cancelled():
        asked.exception()


def _close_late(other: asyncio.Task[socket.socket]) -> None:
    """It connected, but was not the first."""
    with suppress(asyncio.CancelledError, OSError):
        other.result().close()
