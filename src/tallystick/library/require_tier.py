"""`Depends(require_tier("ad_generations"))`: a route is reached only while the user's quota lasts.

What is admitted is counted at once, and given back when the request comes to nothing; tier_gate.py sees how it ends.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import Depends, Request

from tallystick.base.errors import Misconfigured, TallystickError
from tallystick.base.ids import id_for_request
from tallystick.library.inputs import text
from tallystick.quotas.limit import UnknownFeature
from tallystick.quotas.use import Use

SCOPE: Final = "tallystick"
"""Where the middleware leaves what the gates of a request need and tell."""

GiveBack = Literal["on_error", "on_5xx", "never"]


class Counter(Protocol):
    """What a gate needs of a Tallystick."""

    async def use(self, user: str, feature: str, *, units: int = 1, request_id: str | None = None) -> Use: ...

    async def give_back(self, user: str, use: Use | str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class GatedUse:
    user: str
    counting: "asyncio.Task[Use]"
    """A task of its own: a request that is cancelled while it is counted must still find what to give back."""
    give_back: GiveBack
    has_request_id: bool
    """Then it is never given back: another request of the same id, which was told that it is counted, may be using it.
    Whoever fails repeats it for nothing."""


@dataclass
class GatedRequest:
    """What the gates of one request have counted."""

    tally: Counter
    user: Callable[[Request], str | Awaitable[str]]
    uses: list[GatedUse] = field(default_factory=list)
    refused: bool = False
    """By one of its gates: what the others counted was not used."""


async def current_user(request: Request) -> str:
    """The user that the application's own function finds. A dependency with other needs takes this one's place."""
    found = gated(request).user(request)
    return await found if inspect.isawaitable(found) else found


def require_tier(
    feature: str,
    *,
    units: int | Callable[..., Any] = 1,
    request_id: Callable[..., Any] | None = None,
    give_back: GiveBack = "on_error",
    user: Callable[..., Any] = current_user,
) -> Callable[..., Awaitable[bool]]:
    """A FastAPI dependency that counts a use of `feature`, or answers 429.

    `units` is how many uses the request is, or a dependency that says it. `user` is a dependency that gives the id,
    where it is not the installed one. `request_id` is a dependency that gives an id (`idempotency_key` reads the
    header): the same one is counted once for each user, so give it only where your handler does the work of an id once.

    The use is given back "on_error" (the answer's status is 400 or more, or there is none), "on_5xx", or "never"; and
    one with a request id never, for to repeat it costs nothing."""

    # Async, or FastAPI would run each of them in a thread.
    async def fixed_units() -> Any:
        return units

    async def no_request_id() -> None:
        return None

    async def gate(
        request: Request,
        who: Annotated[str, Depends(user)],
        count: Annotated[int, Depends(units if callable(units) else fixed_units)],
        asked_as: Annotated[str | None, Depends(request_id or no_request_id)],
    ) -> bool:
        here = gated(request)
        try:
            # Of this feature alone: a request that passes two gates is a use of both.
            scoped = None if asked_as is None else str(id_for_request(feature, text(asked_as, "request_id")))
            counting = asyncio.create_task(_use(here.tally, who, feature, count, scoped))
            here.uses.append(GatedUse(user=who, counting=counting, give_back=give_back, has_request_id=bool(scoped)))
            await asyncio.shield(counting)
        except TallystickError as error:
            here.refused = True
            if isinstance(error, UnknownFeature):
                # Nothing that who asks could mend.
                raise Misconfigured(f"The catalog has no feature {feature!r}.") from error
            raise
        return True

    return gate


async def _use(tally: Counter, user: str, feature: str, units: int, request_id: str | None) -> Use:
    return await tally.use(user, feature, units=units, request_id=request_id)


async def idempotency_key(request: Request) -> str | None:
    """For `request_id`: the header `Idempotency-Key`, where the request has one."""
    return request.headers.get("idempotency-key")


def gated(request: Request) -> GatedRequest:
    found = request.scope.get(SCOPE)
    if not isinstance(found, GatedRequest):
        raise Misconfigured("require_tier needs a Tallystick in this application: tally.install(app, user=...).")
    return found
