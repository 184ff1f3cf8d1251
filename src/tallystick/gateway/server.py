"""The gateway: everything below /v1. What is paid comes from protocol.py, what is only read comes by plain ASGI."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from tallystick.accounts.authenticate import KeyRing
from tallystick.base.errors import TallystickError, Unavailable
from tallystick.base.ids import new_id
from tallystick.catalog.book import Book
from tallystick.gateway import chat_request, observe
from tallystick.gateway.authorise import authorise
from tallystick.gateway.body import ClientLeft
from tallystick.gateway.call import Call
from tallystick.gateway.client import Client
from tallystick.gateway.journal import Journal
from tallystick.gateway.limits import Limits
from tallystick.gateway.metered_call import metered_call
from tallystick.gateway.outcome import DEFAULT, Policy
from tallystick.gateway.parts import Parts
from tallystick.gateway.rates import Rates
from tallystick.gateway.recover import Recovery
from tallystick.gateway.routes import Answer, answer_read, check_path
from tallystick.gateway.settle import Settlements
from tallystick.gateway.upstream import Upstream
from tallystick.gateway.wire import JSON, Headers, Refusal, refusal
from tallystick.quotas.exceeded import Exceeded
from tallystick.reservations.lanes import Lanes
from tallystick.subscriptions.live import LiveConstraints

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

log = structlog.get_logger()
CHAT: Final = "/v1/chat/completions"
_WRONG_METHOD: Final = Refusal(status=405, code="method_not_allowed", message="This path takes another method.")
_OUR_FAULT: Final = Refusal(status=500, code="internal_error", message="This server failed. Nothing was charged.")


class GatewayApp:
    """Start it after the pool, the lanes and the key ring, and shut it down before them."""

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        lanes: Lanes,
        keyring: KeyRing,
        constraints: LiveConstraints,
        rates: Rates,
        book: Callable[[], Book],
        upstream: Upstream,
        journal: Journal,
        limits: Limits,
        policy: Policy = DEFAULT,
    ) -> None:
        settlements = Settlements(lanes, journal)
        self._parts = Parts(
            book=book,
            constraints=constraints,
            rates=rates,
            lanes=lanes,
            upstream=upstream,
            journal=journal,
            settlements=settlements,
            limits=limits,
            policy=policy,
            exceeded=Exceeded(pool),
        )
        self._pool = pool
        self._keyring = keyring
        self._recovery = Recovery(pool, lanes, journal.folder, policy=policy)
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._calls: dict[UUID, Call] = {}
        self._closing = False
        self._ways_out = (
            f"Buy credits at {limits.purchase_url} or with POST /api/credits/purchase.",
            f"Bring your own provider key at {limits.own_key_url}.",
        )

    async def start(self) -> None:
        """Ends what dead processes left open, first of all."""
        self._parts.journal.start()
        await self._parts.upstream.start()
        self._parts.settlements.start()
        await self._recovery.start()

    async def shutdown(self) -> None:
        """Take nothing new; let what runs finish, cut what does not; leave nothing unsettled that can be settled."""
        if self._closing:
            return
        self._closing = True
        await self._finish_calls(self._parts.limits.shutdown_s)
        for call in self._calls.values():
            call.stop()
        await self._finish_calls(self._parts.limits.settle_s + 2)
        await self._parts.exceeded.stop()
        await self._recovery.stop()
        clean = await self._parts.settlements.stop()
        await self._parts.upstream.stop()
        self._parts.journal.stop(clean=clean and not self._calls)

    async def unready(self) -> str | None:
        """Why paid calls cannot be taken now; None where they can."""
        if self._closing:
            return "This server is going down."
        if behind := self._parts.settlements.behind:
            return f"{behind} ended calls are not in the ledger yet."
        return None

    @property
    def client_write_s(self) -> float:
        return self._parts.limits.client_write_s

    def take(self, client: Client) -> None:
        """A client wants a call. It runs in a task of its own, that outlives the client."""
        request_id = new_id()
        self._tasks[request_id] = asyncio.create_task(self._run(request_id, client))

    async def __call__(self, scope: Any, _receive: Receive, send: Send) -> None:
        """All that costs nothing."""
        request_id = new_id()
        found: Answer | Refusal
        try:
            found = await self._read(scope)
        except TallystickError as error:
            found = refusal(error, self._ways_out, datetime.now(UTC))
            observe.refused(request_id, found, None)
        except Exception:
            # The last boundary before the web server: one answer in our dialect, the cause in the log.
            log.exception("request_failed_here", request_id=str(request_id))
            found = _OUR_FAULT
        await _send(send, *_told(request_id, found))

    async def _run(self, request_id: UUID, client: Client) -> None:
        try:
            refused = await self._chat(request_id, client)
            if refused is not None:
                client.answer(*_told(request_id, refused))
        finally:
            del self._tasks[request_id]
            self._calls.pop(request_id, None)
            client.drop()

    async def _chat(self, request_id: UUID, client: Client) -> Refusal | None:
        """Why there was no call; None where there was one, or nobody is left to be told."""
        started, limits, call = time.monotonic(), self._parts.limits, None
        try:
            caller = await authorise(self._keyring, client.headers)
            self._check_open()
            body = await client.body.read(bytes_max=limits.body_bytes_max, seconds_max=limits.body_s)
            self._check_open()
            request = chat_request.parse(body, limits.choices_max)
            call = self._calls[request_id] = Call(request_id, caller, request, client, datetime.now(UTC), started)
            record = await metered_call(self._parts, call)
        except ClientLeft:
            return None
        except TallystickError as error:
            told = refusal(error, self._ways_out, datetime.now(UTC))
        except Exception:
            # See __call__. The fault was ours: a hold that is open by now is given back.
            log.exception("request_failed_here", request_id=str(request_id))
            if call is not None:
                self._parts.settlements.release_later(call.id, call.caller.account)
            told = _OUR_FAULT
        else:
            observe.settled(call, record)
            return None
        observe.refused(request_id, told, None if call is None else call.caller.key)
        return told

    def _check_open(self) -> None:
        if self._closing:
            raise Unavailable("This server is going down.")
        if self._parts.settlements.behind:
            raise Unavailable("The ledger cannot be reached; nothing is sent that it could not hold credits for.", 2)

    async def _read(self, scope: Any) -> Answer | Refusal:
        """Everything that costs nothing."""
        path: str = scope["path"]
        if path == CHAT:
            return _WRONG_METHOD
        caller = await authorise(self._keyring, scope["headers"])
        check_path(path)
        if scope["method"] not in {"GET", "HEAD"}:
            return _WRONG_METHOD
        return await answer_read(path, caller, self._parts, self._pool)

    async def _finish_calls(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait([*self._tasks.values()], timeout=seconds)


def _told(request_id: UUID, found: Answer | Refusal) -> tuple[int, Headers, bytes]:
    name = (b"x-request-id", str(request_id).encode())
    if isinstance(found, Refusal):
        return found.status, [*found.headers(), name], found.body(str(request_id))
    return 200, [JSON, name], found


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
