"""How fast a customer may be: requests and tokens a minute, counted in windows that begin with their first request.

In the memory of each process by default; in Redis, exactly, where several processes or hosts share them.
"""

import time
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from msgspec import Struct

from tallystick.base.errors import Misconfigured, RateLimited
from tallystick.catalog.plan import PlanRates
from tallystick.gateway.wire import Headers

_KEYS_MAX: Final = 200_000


class Memory(Storage):
    """Windows of this process. limits' own would look at every window whenever it counts one."""

    STORAGE_SCHEME = ["tallystick+memory"]  # noqa: RUF012 - as limits wants it

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        count, ends_at = self._windows.get(key, (0, 0.0))
        if ends_at <= now:
            self._make_room(now)
            count, ends_at = 0, now + expiry
        self._windows[key] = max(0, count + amount), ends_at
        return count + amount

    async def get(self, key: str) -> int:
        count, ends_at = self._windows.get(key, (0, 0.0))
        return count if ends_at > time.time() else 0

    async def get_expiry(self, key: str) -> float:
        return self._windows.get(key, (0, time.time()))[1]

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        self._windows.clear()
        return None

    async def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _make_room(self, now: float) -> None:
        if len(self._windows) >= _KEYS_MAX:
            self._windows = {key: window for key, window in self._windows.items() if window[1] > now}


class Window(Struct, frozen=True):
    """What one request takes of one minute's limit."""

    name: str
    item: RateLimitItemPerMinute
    cost: int


class Taken(Struct, frozen=True):
    """What a request was counted in, and the x-ratelimit headers of its answer."""

    organization: str
    windows: list[Window]
    headers: Headers


_NOTHING: Final = Taken("", [], [])


class Rates:
    """`address` is a Redis URL, or None for the memory of this process."""

    def __init__(self, address: str | None = None) -> None:
        self._storage: Storage = _storage(address)
        self._windows = FixedWindowRateLimiter(self._storage)

    async def take(self, organization: str, rates: PlanRates, tokens: int) -> Taken:
        """Count one request of so many tokens in all of its windows or in none. Raises RateLimited."""
        if rates.requests_per_minute is None and rates.tokens_per_minute is None:
            return _NOTHING
        taken = Taken(organization, [], [])
        wanted = [
            Window(name, RateLimitItemPerMinute(limit), cost)
            for name, limit, cost in (
                ("requests", rates.requests_per_minute, 1),
                ("tokens", rates.tokens_per_minute, tokens),
            )
            if limit is not None
        ]
        for window in wanted:
            # Asked before it is counted: one that is refused must not take from those that are smaller.
            fits = await self._windows.test(window.item, window.name, organization, cost=window.cost)
            if fits:
                taken.windows.append(window)
                fits = await self._windows.hit(window.item, window.name, organization, cost=window.cost)
            if not fits:
                await self.give_back(taken)
                raise await self._refusal(window, organization)
            ends_at, remaining = await self._windows.get_window_stats(window.item, window.name, organization)
            taken.headers.extend(_headers(window, remaining, ends_at))
        return taken

    async def give_back(self, taken: Taken) -> None:
        """For a request that was refused elsewhere: it leaves no trace here."""
        for window in taken.windows:
            key = window.item.key_for(window.name, taken.organization)
            await self._storage.incr(key, window.item.get_expiry(), -window.cost)

    async def _refusal(self, refused: Window, organization: str) -> RateLimited:
        ends_at, remaining = await self._windows.get_window_stats(refused.item, refused.name, organization)
        seconds = max(1, -int(-(ends_at - time.time()) // 1))
        error = RateLimited(
            f"More than {refused.item.amount} {refused.name} a minute are not in your plan."
            if refused.cost <= refused.item.amount
            else f"This needs up to {refused.cost} {refused.name}; your plan allows {refused.item.amount} a minute.",
            seconds,
        )
        error.details |= {
            "limit_source": "rate",
            "name": f"{refused.name}_per_minute",
            "limit": refused.item.amount,
            "used": refused.item.amount - remaining,
            "remaining": remaining,
        }
        return error


def _storage(address: str | None) -> Storage:
    if address is None:
        return Memory()
    try:
        storage = storage_from_string(f"async+{address}", implementation="redispy")
    except ConfigurationError as error:
        raise Misconfigured(f"TALLYSTICK_REDIS_URL cannot be used: {error}") from error
    if not isinstance(storage, Storage):
        raise TypeError(f"{address} is no storage for rates")
    return storage


def _headers(taken: Window, remaining: int, ends_at: float) -> Headers:
    """As OpenAI's API names and writes them."""
    seconds = max(0.0, ends_at - time.time())
    return [
        (f"x-ratelimit-limit-{taken.name}".encode(), b"%d" % taken.item.amount),
        (f"x-ratelimit-remaining-{taken.name}".encode(), b"%d" % remaining),
        (f"x-ratelimit-reset-{taken.name}".encode(), f"{seconds:.3f}s".encode()),
    ]
