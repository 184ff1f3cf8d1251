"""Install quotas in a FastAPI application: opened with it, refusals answered, headers set, uses given back.

A plain ASGI middleware decides by the status that the answer begins with: it sees what became of a request, whoever
answered it. Once an answer without an error has begun, the use stands: a client that hangs up gets nothing back.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Any, Final, Protocol

import structlog
from fastapi import Depends, FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.base import strict_json
from tallystick.base.errors import Misconfigured, TallystickError
from tallystick.library.require_tier import SCOPE, Counter, GatedRequest, GatedUse, current_user
from tallystick.library.tier_refusal import quota_headers, refusal_body, refusal_headers
from tallystick.quotas.use import FeatureUsage, remaining_of

log = structlog.get_logger()

User = Callable[..., str | Awaitable[str]]
_LEAST_STATUS: Final = {"on_error": 400, "on_5xx": 500, "never": 1000}


class Installable(Counter, Protocol):
    """What the application opens and closes."""

    @property
    def is_open(self) -> bool: ...

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def install(app: FastAPI, tally: Installable, user: User) -> None:
    direct = user
    if not _takes_a_request_only(user):
        direct = _never
        app.dependency_overrides[current_user] = _as_dependency(user)
    app.add_middleware(TierGate, tally=tally, user=direct)
    # One that the application has for these errors is its own.
    app.exception_handlers.setdefault(TallystickError, _refused)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: FastAPI) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            if not tally.is_open:
                await stack.enter_async_context(tally)
            yield await stack.enter_async_context(inner(running))

    app.router.lifespan_context = lifespan


class TierGate:
    """Around every request: where gates note what they count."""

    def __init__(self, app: ASGIApp, *, tally: Counter, user: User) -> None:
        self._app = app
        self._tally = tally
        self._user = user
        self._ending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = scope[SCOPE] = GatedRequest(self._tally, self._user)
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start" and not begun:
                begun = True
                if request.uses:
                    standing = await _give_back(request, message["status"])
                    _show(request.uses, standing, MutableHeaders(scope=message))
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except BaseException:
            if request.uses and not begun:
                await self._finish(request)
            raise

    async def _finish(self, request: GatedRequest) -> None:
        """Whoever cancelled the request does not cancel this."""
        task = asyncio.create_task(_end(request))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        await asyncio.shield(task)


async def _end(request: GatedRequest) -> None:
    await _give_back(request, 500)


async def _give_back(request: GatedRequest, status: int) -> list[GatedUse]:
    """What of the request's uses the answer leaves without a use; returns those that still count."""
    standing = []
    for gated in request.uses:
        await asyncio.wait([gated.counting])
        if gated.counting.exception() is not None:
            # Refused: nothing was counted.
            continue
        if gated.has_request_id or not (request.refused or status >= _LEAST_STATUS[gated.give_back]):
            standing.append(gated)
            continue
        use = gated.counting.result()
        try:
            await request.tally.give_back(gated.user, use)
        except TallystickError as error:
            # The request has its answer already; what stays counted leaves the window in 30 days.
            log.warning("use_not_given_back", use=use.id, feature=use.feature, error=repr(error))
            standing.append(gated)
    return standing


def _show(uses: list[GatedUse], standing: list[GatedUse], headers: MutableHeaders) -> None:
    """How the quota stands; of several, the one of which least is left. A refusal has told already."""
    if "x-quota-used" in headers:
        return
    shown = []
    for gated in uses:
        if gated.counting.exception() is not None:
            return
        use = gated.counting.result()
        used = use.used if gated in standing else use.used - use.units
        shown.append((FeatureUsage(used=used, limit=use.limit, remaining=remaining_of(use.limit, used)), use))
    usage, use = min(shown, key=lambda one: (one[0].remaining is None, one[0].remaining))
    for name, value in quota_headers(usage, use.resets_at).items():
        headers[name] = value


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TallystickError)  # noqa: S101 - registered for this class only
    if isinstance(error, Misconfigured):
        log.error("tier_gate_misconfigured", message=error.message)
    return Response(
        strict_json.dumps(refusal_body(error)),
        status_code=error.status,
        headers=refusal_headers(error, datetime.now(UTC)),
        media_type="application/json",
    )


def _takes_a_request_only(user: User) -> bool:
    """Such a function is simply called; everything else is for FastAPI to find the arguments of."""
    parameters = list(inspect.signature(user).parameters.values())
    return len(parameters) == 1 and (parameters[0].annotation is Request or parameters[0].name == "request")


def _as_dependency(user: User) -> Callable[..., Awaitable[str]]:
    # Through one more function, so that an application's tests can still override its own.
    async def current(found: Annotated[str, Depends(user)]) -> str:
        return found

    return current


def _never(_request: Request) -> str:
    raise Misconfigured("The dependency overrides of this application were cleared: install the Tallystick again.")
