"""Call a provider: no redirects, no cookies, no second try, every wait limited. The protocol itself is in http/."""

import re
import ssl
from typing import Final, NamedTuple

from msgspec import Struct

from tallystick.base.errors import UpstreamFailed
from tallystick.gateway.http.address import Address, split
from tallystick.gateway.http.connection import Waits
from tallystick.gateway.http.dial import Dialler
from tallystick.gateway.http.pool import Pool
from tallystick.gateway.http.reply import Reply
from tallystick.gateway.http.request import post_head

__all__ = ["Reply", "Upstream", "UpstreamLimits"]

_TARGETS_MAX: Final = 1000
_TEXT: Final = re.compile(r"[!-~]+")
_HEADERS: Final = {
    "user-agent": "tallystick",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
    "content-type": "application/json",
}


class UpstreamLimits(Struct, frozen=True, kw_only=True):
    connect_s: float = 10.0
    first_byte_s: float = 300.0
    between_s: float = 120.0
    total_s: float = 800.0
    connections_max: int = 1000


class _Target(NamedTuple):
    """Where calls go and how they begin: worked out once for each provider, not for each call."""

    address: Address
    head: bytes


class Upstream:
    def __init__(self, limits: UpstreamLimits, trust: ssl.SSLContext | None = None) -> None:
        self._limits = limits
        waits = Waits(first_byte_s=limits.first_byte_s, between_s=limits.between_s)
        self._pool = Pool(Dialler(trust), waits, connect_s=limits.connect_s, connections_max=limits.connections_max)
        self._targets: dict[tuple[str, str, str | None], _Target] = {}

    @property
    def total_s(self) -> float:
        """How long a call may take from its first byte out to its last byte in; its caller sees to that."""
        return self._limits.total_s

    async def start(self) -> None:
        self._pool.start()

    async def stop(self) -> None:
        await self._pool.stop()

    async def post(self, base_url: str, path: str, body: bytes, credential: str | None) -> Reply:
        """Send one call. The credential goes to this address and nowhere else: a redirect is an answer like any."""
        target = self._targets.get((base_url, path, credential))
        if target is None:
            if len(self._targets) >= _TARGETS_MAX:
                self._targets.clear()
            target = self._targets[base_url, path, credential] = _target(base_url, path, credential)
        reply = await self._pool.send(target.address, b"%b%d\r\n\r\n" % (target.head, len(body)), body)
        try:
            await reply.begun()
        except BaseException:
            reply.close()
            raise
        return reply


def _target(base_url: str, path: str, credential: str | None) -> _Target:
    headers = dict(_HEADERS)
    if credential is not None:
        if not _TEXT.fullmatch(credential):
            raise UpstreamFailed("The provider's credential cannot be sent; the operator must set it again.")
        headers["authorization"] = f"Bearer {credential}"
    try:
        address, prefix = split(base_url)
        return _Target(address, post_head(address, prefix.rstrip("/") + path, headers))
    except ValueError as error:
        raise UpstreamFailed("The provider's address cannot be called; the operator must set it again.") from error
