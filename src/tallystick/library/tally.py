"""Quotas and metered charges for anybody's application: in process on the same database, or over HTTP.

    tally = Tallystick.connect("https://your.address", service_token=token)    # or Tallystick.open("postgresql://...")
    tally.install(app, user=current_user)                                      # then: Depends(require_tier("exports"))

Wherever a `user` is asked for, an organization's id is taken too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import structlog

from tallystick.base.errors import TallystickError
from tallystick.library import remote
from tallystick.library.charge import Charge
from tallystick.library.tally_engine import TallyEngine
from tallystick.library.tally_local import open_local
from tallystick.library.tally_remote import connect_remote
from tallystick.quotas.use import QuotaCheck, TierUsage, Use

if TYPE_CHECKING:
    from fastapi import FastAPI

log = structlog.get_logger()

CHARGE_LASTS_S: Final = 3600
_Answer = TypeVar("_Answer")


class Tallystick:
    """Made by `open` or `connect`; works from `async with` on, or from the start of an app it is installed in."""

    def __init__(self, opens: Callable[[], AbstractAsyncContextManager[TallyEngine]]) -> None:
        self._opens = opens
        self._opened: AbstractAsyncContextManager[TallyEngine] | None = None
        self._working: TallyEngine | None = None
        self._ending: set[asyncio.Task[Any]] = set()

    @classmethod
    def open(cls, database_url: str) -> Self:
        """On a database that `tallystick migrate` has prepared. Uses take one batched transaction each."""
        return cls(lambda: open_local(database_url))

    @classmethod
    def connect(cls, url: str, *, service_token: str, timeout_s: float = 30.0) -> Self:
        """On a running server, which knows the token from TALLYSTICK_SERVICES_TOKENS. Raises InvalidInput."""
        address = remote.address(url)
        return cls(lambda: connect_remote(address, service_token=service_token, timeout_s=timeout_s))

    @property
    def is_open(self) -> bool:
        return self._working is not None

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise RuntimeError("this Tallystick is open already")
        opened = self._opens()
        self._working = await opened.__aenter__()
        self._opened = opened
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._opened, self._working = self._opened, None, None
        try:
            # Of those whose callers were cancelled nobody else waits for the end.
            await asyncio.gather(*self._ending, return_exceptions=True)
        finally:
            if opened is not None:
                await opened.__aexit__(kind, error, trace)

    def install(self, app: "FastAPI", *, user: Callable[..., str | Awaitable[str]]) -> None:
        """Let `require_tier` work in this application; before it starts.

        `user` says for whom a request is: a function of the request, or any dependency of yours that gives the id (that
        one costs every request a millisecond: FastAPI looks at all signatures again). The Tallystick is opened and
        closed with the application, unless it is open already; refusals are answered in one shape, with their status.
        """
        # FastAPI is loaded by those who have one.
        from tallystick.library.tier_gate import install  # noqa: PLC0415

        install(app, self, user)

    async def use(self, user: str, feature: str, *, units: int = 1, request_id: str | None = None) -> Use:
        """Count the use of a feature before it happens. The same `request_id` is counted once, until it is given back.

        Raises QuotaExceeded, which leaves no trace, UnknownFeature, NoAccess, NotFound, InvalidInput and Conflict."""
        return await self._engine.use(user, feature, units, request_id)

    async def give_back(self, user: str, use: Use | str) -> None:
        """Take a use that came to nothing out of its window. Said again, it is still true."""
        await self._engine.give_back(user, use.id if isinstance(use, Use) else use)

    async def check_quota(self, user: str, feature: str, *, units: int = 1) -> QuotaCheck:
        """Whether the next use would be admitted: true or false, with what is used and left. It counts nothing, so
        someone else may be faster; `use` makes sure."""
        return await self._engine.check(user, feature, units)

    async def usage(self, user: str) -> TierUsage:
        """What is used of every feature in the 30 days that end now."""
        return await self._engine.usage(user)

    async def get_user_tier(self, user: str) -> str:
        """free, pro, enterprise, or what the catalog calls it."""
        return await self._engine.tier(user)

    @asynccontextmanager
    async def charge(
        self,
        user: str,
        *,
        meter: str,
        quantity: int,
        feature: str | None = None,
        request_id: str | None = None,
        lasts_s: int = CHARGE_LASTS_S,
    ) -> AsyncIterator[Charge]:
        """Charge for any metered work: `quantity` is the most it can come to, and is admitted or refused as a whole.
        In the block `charge.used(n)` corrects it; leaving the block settles, an exception gives everything back.

        With `feature`, one use of it is counted too. Work that takes longer than `lasts_s` is not paid for.
        Raises QuotaExceeded, InsufficientCreditsError, NotFound, InvalidInput, and Conflict for a request id that was
        charged already."""
        engine = self._engine
        held = await engine.reserve(user, meter, quantity, feature=feature, request_id=request_id, lasts_s=lasts_s)
        charge = Charge(held)
        try:
            yield charge
        except BaseException:
            # Under one request id someone else may be at the same work, who will settle it. If they died, the hold
            # gives itself back when its time is over.
            if request_id is None or not held.repeated:
                await self._whatever_comes(_released(engine, user, held.id))
            raise
        charge.settled = await self._whatever_comes(engine.settle(user, held.id, charge.quantity))

    async def _whatever_comes(self, ending: Coroutine[Any, Any, _Answer]) -> _Answer:
        """A cancelled caller does not leave the books half told: what ends a hold is finished without it."""
        task = asyncio.create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return await asyncio.shield(task)

    @property
    def _engine(self) -> TallyEngine:
        if self._working is None:
            raise RuntimeError("this Tallystick is not open: use `async with`, or install it in an application")
        return self._working


async def _released(engine: TallyEngine, user: str, charge: str) -> None:
    try:
        await engine.release(user, charge)
    except TallystickError as error:
        # The failure of the work is what the caller must hear of. The hold gives itself back when its time is over.
        log.warning("charge_not_released", charge=charge, error=repr(error))
