"""Call a provider: one shared session of connections, no redirects, no cookies, every wait limited."""

import asyncio
import re
from typing import Final, NamedTuple

import aiohttp
from aiohttp import hdrs
from aiohttp.payload import BytesPayload
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tallystick.base.errors import TallystickError, UpstreamFailed, UpstreamTimeout

_FINISH_S: Final = 1.0
_TARGETS_MAX: Final = 1000
_TEXT: Final = re.compile(r"[!-~]+")


class UpstreamLimits(Struct, frozen=True, kw_only=True):
    connect_s: float = 10.0
    first_byte_s: float = 300.0
    between_s: float = 120.0
    total_s: float = 800.0
    connections_max: int = 1000


class Reply:
    """A provider's answer as it comes. Reading raises UpstreamFailed or UpstreamTimeout; close it always."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.content_type = response.content_type

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    async def block(self) -> bytes:
        """The next bytes, as many as there are; empty at the end."""
        try:
            return await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _failure(error) from error

    async def whole(self, bytes_max: int) -> bytes:
        """All of it. Raises UpstreamFailed beyond `bytes_max`."""
        blocks, size = [], 0
        while not self._response.content.at_eof() and (block := await self.block()):
            size += len(block)
            if size > bytes_max:
                raise UpstreamFailed("The provider's answer is larger than this server takes.")
            blocks.append(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def close(self) -> None:
        """Give the connection back where the answer was read to its end, else drop it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    async def finish(self) -> None:
        """Read the few bytes that follow the last word of a stream, so that its connection can be used again."""
        if self._response.content.at_eof():
            self._response.release()
            return
        try:
            async with asyncio.timeout(_FINISH_S):
                while not self._response.content.at_eof():
                    await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # the answer is complete; only the connection is lost
        finally:
            self.close()


class _Target(NamedTuple):
    """Where calls go and how they begin: worked out once for each provider, not for each call."""

    url: URL
    headers: CIMultiDictProxy[str]


class Upstream:
    def __init__(self, limits: UpstreamLimits) -> None:
        self._limits = limits
        # The whole call is limited by its caller: one timer instead of two.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.first_byte_s)
        self._targets: dict[tuple[str, str, str | None], _Target] = {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def total_s(self) -> float:
        """How long a call may take from its first byte out to its last byte in."""
        return self._limits.total_s

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limits.connections_max, keepalive_timeout=15.0),
            # A provider's cookie must never travel to another one, nor from one customer's call into the next.
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,
            headers={hdrs.USER_AGENT: "tallystick", hdrs.ACCEPT_ENCODING: "identity"},
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, base_url: str, path: str, body: bytes, credential: str | None) -> Reply:
        """Send one call. The credential goes to this address and nowhere else: a redirect is an answer like any."""
        if self._session is None:
            raise RuntimeError("start() comes first")
        target = self._targets.get((base_url, path, credential))
        try:
            if target is None:
                if len(self._targets) >= _TARGETS_MAX:
                    self._targets.clear()
                target = self._targets[base_url, path, credential] = _target(base_url, path, credential)
            response = await self._session.post(
                target.url, data=BytesPayload(body), headers=target.headers, allow_redirects=False
            )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise _failure(error) from error
        if (connection := response.connection) is not None and connection.protocol is not None:
            connection.protocol.read_timeout = self._limits.between_s
        return Reply(response)


def _target(base_url: str, path: str, credential: str | None) -> _Target:
    headers = CIMultiDict({hdrs.CONTENT_TYPE: "application/json"})
    if credential is not None:
        if not _TEXT.fullmatch(credential):
            raise UpstreamFailed("The provider's credential cannot be sent; the operator must set it again.")
        headers[hdrs.AUTHORIZATION] = f"Bearer {credential}"
    return _Target(URL(base_url.rstrip("/") + path), CIMultiDictProxy(headers))


def _failure(error: Exception) -> TallystickError:
    """What a customer may hear: which way it failed, never an address."""
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return UpstreamTimeout("The provider did not answer in time.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UpstreamFailed("The provider cannot be reached.")
    return UpstreamFailed("The provider broke off its answer.")
