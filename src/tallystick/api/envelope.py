"""Around every request of the API: an id, a whole body of limited size and time, safe headers, and a last resort."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from tallystick.api.errors import error_body
from tallystick.api.exact_json import ExactJSON
from tallystick.base.errors import InvalidInput, TallystickError, TooLarge
from tallystick.base.ids import new_id
from tallystick.ledger.audit import ORIGIN

_log = structlog.get_logger()

_SAFE_HEADERS: Final = {
    # Every answer is one customer's money or a secret: no cache may keep it.
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class BodyTooSlow(InvalidInput):
    """The body did not arrive in the time a client has for it."""

    status = 408
    code = "request_timeout"


class Envelope:
    """Plain ASGI: a body is read here, once, so that no route has to count bytes or watch the clock."""

    def __init__(self, app: ASGIApp, *, body_max_bytes: int, body_timeout_s: float) -> None:
        self._app = app
        self._body_max_bytes = body_max_bytes
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(new_id())
        # The task is this request's alone, so that nobody else finds it there afterwards.
        ORIGIN.set(scope["client"][0] if scope.get("client") else "unknown address")
        sender = _Sender(send, request_id)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                body = await self._whole_body(scope, receive)
                if body is not None:
                    await self._app(scope, _replay(body, receive), sender)
            except TallystickError as error:
                await sender.answer(scope, receive, error.status, error_body(error))
            except Exception:  # noqa: BLE001 - the outermost boundary: any defect ends as a 500 naming the request
                _log.exception("unexpected_error", method=scope["method"], path=scope["path"])
                message = f"Something went wrong here. Request {request_id} is in the log."
                await sender.answer(scope, receive, 500, {"code": "internal_error", "message": message})

    async def _whole_body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None when the client left before it was whole, and nobody is there to be answered."""
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > self._body_max_bytes:
            raise TooLarge(f"The body may have {self._body_max_bytes} bytes.")
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._body_max_bytes:
                        raise TooLarge(f"The body may have {self._body_max_bytes} bytes.")
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise BodyTooSlow("body", f"did not arrive within {self._body_timeout_s:g} seconds") from None


class _Sender:
    """Sends on, with the headers that every answer carries, and knows whether one has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self._begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            for name, value in _SAFE_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def answer(self, scope: Scope, receive: Receive, status: int, error: dict[str, object]) -> None:
        # Once an answer has begun its status is out: the server then cuts the connection, which is the truth.
        if not self._begun:
            await ExactJSON({"error": error}, status_code=status)(scope, receive, self)


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    """Hand out the body that was read already, then whatever the connection says next (that it is closed)."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return replayed
