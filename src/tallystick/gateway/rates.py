"""How fast a customer may be: requests and tokens in each minute of the clock.

Counted in the memory of each process by default; in Redis where several processes or hosts share the limits. A window's
key names its minute: what is given back late never becomes room in a later minute.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from limits.aio.storage import RedisStorage, Storage
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from msgspec import Struct

from tallystick.base.errors import Misconfigured, Unavailable
from tallystick.catalog.plan import PlanRates
from tallystick.gateway.wire import Headers, TooFast

_MINUTE_S: Final = 60
# Until a Redis that does not answer is one that is away.
_REDIS_S: Final = 1.0

log = structlog.get_logger()


class Memory(Storage):
    """Windows of this process. limits' own would look at every window whenever it counts one; here those that ended
    go all at once, as the older of two tables."""

    STORAGE_SCHEME = ["tallystick+memory"]  # noqa: RUF012 - as limits wants it

    def __init__(self) -> None:
        super().__init__()
        self._new: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._turns_at = 0.0

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        if now >= self._turns_at:
            self._old, self._new, self._turns_at = self._new, {}, now + expiry
        counts = self._old if key in self._old else self._new
        count = counts[key] = counts.get(key, 0) + amount
        return count

    async def get(self, key: str) -> int:
        return self._old.get(key, 0) or self._new.get(key, 0)

    async def get_expiry(self, key: str) -> float:  # noqa: ARG002 - as limits wants it
        return self._turns_at

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        self._old, self._new = {}, {}
        return None

    async def clear(self, key: str) -> None:
        self._old.pop(key, None)
        self._new.pop(key, None)


class Window(Struct, frozen=True, gc=False):
    """What one request takes of one minute's limit."""

    name: str
    key: str
    limit: int
    cost: int
    # When the minute is over.
    ends_at: int


class Taken(Struct, frozen=True):
    """What a request was counted in, and the x-ratelimit headers of its answer."""

    windows: list[Window]
    headers: Headers


_NOTHING: Final = Taken([], [])


class Rates:
    """`address` is a Redis URL, or None for the memory of this process.

    A Redis that is away refuses those whose plan has rates, with 503: counted here alone, every process would give
    away the whole limit once more. Who has no rates does not notice.
    """

    def __init__(self, address: str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._storage: Storage = Memory() if address is None else _redis(address)

    async def stop(self) -> None:
        """Close the connections to Redis."""
        if isinstance(self._storage, RedisStorage):
            bridge: Any = self._storage.bridge
            await bridge.get_connection().aclose()

    async def take(self, organization: str, rates: PlanRates, tokens: int) -> Taken:
        """Count one request of so many tokens in all of its windows or in none. Raises TooFast, and Unavailable where
        it cannot be counted."""
        if rates.requests_per_minute is None and rates.tokens_per_minute is None:
            return _NOTHING
        now, taken = self._clock(), Taken([], [])
        try:
            for window in _windows(organization, rates, tokens, int(now)):
                # Asked before it is counted: one that is refused must not take from those that are smaller.
                count = await self._storage.get(window.key) + window.cost
                if count <= window.limit:
                    count = await self._storage.incr(window.key, 2 * _MINUTE_S, window.cost)
                    # Only now: what may not have been counted is not given back, for that would be room for more.
                    taken.windows.append(window)
                if count > window.limit:
                    await self.give_back(taken)
                    raise _refusal(window, count - window.cost, now)
                taken.headers.extend(_headers(window, count, now))
        except StorageError as error:
            log.warning("rates_not_counted", organization=organization, error=repr(error.storage_error))
            await self.give_back(taken)
            raise Unavailable("How fast you send cannot be counted at this moment, so nothing was sent.") from error
        return taken

    async def give_back(self, taken: Taken) -> None:
        """For a request that was refused elsewhere: it leaves no trace here."""
        try:
            for window in taken.windows:
                await self._storage.incr(window.key, 2 * _MINUTE_S, -window.cost)
        except StorageError as error:
            # A minute later it makes no difference.
            log.warning("rates_not_given_back", error=repr(error.storage_error))


def _windows(organization: str, rates: PlanRates, tokens: int, now: int) -> list[Window]:
    minute = now // _MINUTE_S
    ends_at = (minute + 1) * _MINUTE_S
    return [
        # Not by the limit too, or whoever gets another one would begin anew.
        Window(name, f"{organization}/{minute}/{name}", limit, cost, ends_at)
        for name, limit, cost in (
            ("requests", rates.requests_per_minute, 1),
            ("tokens", rates.tokens_per_minute, tokens),
        )
        if limit is not None
    ]


def _refusal(refused: Window, count: int, now: float) -> TooFast:
    name, limit = refused.name, refused.limit
    remaining = max(0, limit - count)
    ever = refused.cost <= limit
    if ever and name == "requests":
        message = f"Your plan allows {limit} requests a minute."
    elif ever:
        message = f"This needs up to {refused.cost} tokens; {remaining} of {limit} are left in this minute."
    else:
        message = (
            f"This needs up to {refused.cost} tokens; your plan allows {limit} a minute. Ask for a shorter answer."
        )
    return TooFast(
        message,
        name=f"{name}_per_minute",
        limit=limit,
        used=min(count, limit),
        retry_after=max(1, -int(-(refused.ends_at - now) // 1)),
        ever=ever,
        headers=_headers(refused, count, now),
    )


def _headers(window: Window, count: int, now: float) -> Headers:
    """As OpenAI's API names and writes them."""
    return [
        (f"x-ratelimit-limit-{window.name}".encode(), b"%d" % window.limit),
        (f"x-ratelimit-remaining-{window.name}".encode(), b"%d" % max(0, window.limit - count)),
        (f"x-ratelimit-reset-{window.name}".encode(), b"%.3fs" % (window.ends_at - now)),
    ]


def _redis(address: str) -> Storage:
    try:
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - an extra that few installations need
        from redis.backoff import NoBackoff  # noqa: PLC0415

        options: dict[str, Any] = {
            "socket_timeout": _REDIS_S,
            "socket_connect_timeout": _REDIS_S,
            # Once: for a connection that a restart of Redis has broken.
            "retry": Retry(NoBackoff(), 1),
        }
        storage = storage_from_string(
            f"async+{address}", implementation="redispy", wrap_exceptions=True, key_prefix="tallystick", **options
        )
    except (ImportError, ConfigurationError, ValueError) as error:
        # Not the cause: it may have the password of the address in it.
        raise Misconfigured(
            "TALLYSTICK_REDIS_URL cannot be used: it must be redis://, and tallystick[redis] installed."
        ) from error
    if not isinstance(storage, RedisStorage):
        raise Misconfigured("TALLYSTICK_REDIS_URL must be the address of a Redis.")
    return storage
