"""How often something may be tried. Counted in the database before the work is done, for all processes together."""

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import RateLimited

queries = load_queries(__file__, "throttle.sql")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `attempts_max` in a window that opens with the first attempt."""

    name: str
    attempts_max: int
    window_s: float


# Only failed sign-ins stay counted. The price of the first: somebody can keep an address they know from signing in for
# as long as they go on trying; sessions and API keys that exist work on.
SIGN_IN_BY_EMAIL: Final = Limit("sign_in_email", 10, 900)
SIGN_IN_BY_ADDRESS: Final = Limit("sign_in_address", 100, 900)
SIGN_UP_BY_ADDRESS: Final = Limit("sign_up_address", 500, 3600)
PASSWORD_BY_USER: Final = Limit("password_user", 10, 900)
ORGANIZATIONS_BY_USER: Final = Limit("organizations_user", 20, 3600)
# Each is a mail in somebody's name: to many people, and to one of them.
INVITATIONS_BY_USER: Final = Limit("invitations_user", 100, 3600)
INVITATIONS_TO_EMAIL: Final = Limit("invitations_email", 10, 86_400)


async def count(pool: asyncpg.Pool, limit: Limit, who: str) -> None:
    """Count one attempt; raises RateLimited when there were too many. Commits by itself: what fails afterwards stays
    counted."""
    row = await queries.count_attempt(pool, subject=_subject(limit, who), window_s=limit.window_s)
    if row["attempts"] > limit.attempts_max:
        raise RateLimited("Too many attempts. Wait before the next one.", retry_after=row["seconds_left"])
    await queries.prune_attempts(pool)


async def take_back(pool: asyncpg.Pool, limit: Limit, who: str) -> None:
    """The attempt was a good one and shall not count."""
    await queries.take_back_attempt(pool, subject=_subject(limit, who))


async def forget(pool: asyncpg.Pool, limit: Limit, who: str) -> None:
    """The right person is here: their earlier attempts do not count either."""
    await queries.forget_attempts(pool, subject=_subject(limit, who))


def network_of(address: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 that one IPv6 customer has to himself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _subject(limit: Limit, who: str) -> bytes:
    return hashlib.sha256(f"{limit.name}\0{who}".encode()).digest()
