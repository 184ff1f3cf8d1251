"""Who may deduct: services that hold one of the installation's tokens, compared in constant time."""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from starlette.datastructures import Headers

from tallystick.base.errors import Unauthorized, Unavailable

HEADERS: Final = ("x-tallystick-services-token", "x-reeve-services-token")


class ServicesClosed(Unavailable):
    """This installation accepts no services: its operator has not set TALLYSTICK_SERVICES_TOKENS."""

    code = "services_closed"


class ServiceTokens:
    """Several tokens are accepted at a time, so that one can be replaced without a gap."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._digests = tuple(sha256(token.encode()).digest() for token in tokens)

    def check(self, headers: Headers) -> None:
        """Raises Unauthorized unless exactly one token came and it is accepted; ServicesClosed where none can be."""
        if not self._digests:
            raise ServicesClosed("This server takes no deductions: its operator has set no services token.", 60)
        given = [value for name in HEADERS for value in headers.getlist(name)]
        # Two tokens are a proxy or an attacker adding one: which of them counts is not ours to say.
        candidate = sha256((given[0] if len(given) == 1 else "").encode()).digest()
        accepted = False
        for digest in self._digests:
            # Digests of one length, every one compared: the time taken tells nothing about which came near.
            accepted |= hmac.compare_digest(candidate, digest)
        if not accepted:
            raise Unauthorized("A valid services token is needed.")
