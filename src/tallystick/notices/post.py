"""One webhook call: to the vetted address, no redirect, a bounded time, the first characters of the answer."""

import socket
import time
from collections.abc import Mapping
from typing import Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from tallystick.base.errors import InvalidInput
from tallystick.notices.fence import Fence, Target

TIMEOUT_S: Final = 15
_ANSWER_BYTES: Final = 1000
_ANSWER_CHARS: Final = 200


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is None where there was no answer; then `text` says why."""

    status: int | None
    ms: int
    text: str
    retry_after: str | None = None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


async def post(
    fence: Fence, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: int = TIMEOUT_S
) -> Answer:
    """Send `body`; whatever goes wrong on the way is an answer too. Once there is a status, it alone counts."""
    began = time.monotonic_ns()
    status, asked, text = None, None, ""
    try:
        target = await fence.vet(url)
        async with (
            _session(target, timeout_s) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            # Bytes as they come: what is said compressed can become any size.
            status, asked = response.status, response.headers.get("retry-after")
            text = await _beginning(response)
    except InvalidInput as error:
        text = error.message
    except TimeoutError:
        text = f"No answer within {timeout_s} seconds." if status is None else ""
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The kind of failure and not all of its words, which can hold the URL with what the customer wrote into it.
        text = f"No answer: {_kind(error)}." if status is None else ""
    return Answer(status=status, ms=(time.monotonic_ns() - began) // 1_000_000, text=_shown(text), retry_after=asked)


def _session(target: Target, timeout_s: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_Pinned(target), use_dns_cache=False, force_close=True),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"user-agent": "Tallystick", "accept-encoding": "identity"},
    )


async def _beginning(response: aiohttp.ClientResponse) -> str:
    read = b""
    while len(read) < _ANSWER_BYTES and (block := await response.content.read(_ANSWER_BYTES - len(read))):
        read += block
    return read.decode("utf-8", "replace")


def _shown(text: str) -> str:
    """As it can be stored, and shown on a terminal or a page."""
    printable = "".join(character if character.isprintable() else " " for character in text[:_ANSWER_BYTES])
    return " ".join(printable.split())[:_ANSWER_CHARS]


def _kind(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "its TLS certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it cannot be connected to"
    return "the connection broke" if isinstance(error, aiohttp.ClientError | OSError) else "it is not HTTP"


class _Pinned(AbstractResolver):
    """Answers with the addresses that were vetted, and never asks again."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - as aiohttp wants it
    ) -> list[ResolveResult]:
        if host != self._target.host:
            raise OSError(f"{host} was not vetted")
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in self._target.addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""
