"""The gateway's side of the web server: paid calls go from the connection to the gateway, all else goes uvicorn's way.

docs/decisions/0013-straight-from-the-connection.md has the reasons.
"""

from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tallystick.gateway.client import Client
from tallystick.gateway.server import CHAT, GatewayApp

_CHAT: Final = CHAT.encode()


class GatewayProtocol(HttpToolsProtocol):
    """One connection of a client, with uvicorn's parser, pipeline and way of shutting down.

    A client's request for a paid call takes the place that uvicorn's own cycle of request and response has for others,
    in the same line of pipelined requests.
    """

    def __init__(self, *, gateway: GatewayApp, **options: Any) -> None:
        super().__init__(**options)
        self._gateway = gateway
        # What is being answered; `cycle` is what came last.
        self._answered: Client | RequestResponseCycle | None = None
        self._idle_since: float | None = None

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        if self.parser.get_method() != b"POST" or not self._for_a_call():
            self._go_uvicorns_way()
            return
        version_1_0 = self.parser.get_http_version() == "1.0"
        client = Client(
            self,
            keep_alive=not version_1_0 and self.parser.should_keep_alive(),
            chunks=not version_1_0,
            write_s=self._gateway.client_write_s,
        )
        before, self.cycle = self.cycle, cast(RequestResponseCycle, client)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        if not isinstance(self.cycle, Client):
            super().on_body(body)
        elif not self.cycle.response_complete:
            self.cycle.body.add(body)

    def on_message_complete(self) -> None:
        if not isinstance(self.cycle, Client):
            super().on_message_complete()
        else:
            self.cycle.body.end()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells only what came last, although what is being answered has to know.
        answered = self._answered
        self.cycle = None if isinstance(answered, Client) else answered  # type: ignore[assignment]
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        if isinstance(answered, Client) and not answered.response_complete:
            answered.left()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._close_when_idle_for(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """One timer that looks again, and not one for each request."""
        idle_s = 0.0 if self._idle_since is None else self.loop.time() - self._idle_since
        if idle_s >= self.timeout_keep_alive:
            super().timeout_keep_alive_handler()
        else:
            self._close_when_idle_for(self.timeout_keep_alive - idle_s)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _close_when_idle_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        if isinstance(cycle, Client):
            self._gateway.take(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _go_uvicorns_way(self) -> None:
        """With the description of the request that ASGI wants, and that nobody else needs."""
        read = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = read
        self.scope["headers"] = self.headers
        super().on_headers_complete()

    def _for_a_call(self) -> bool:
        if self.url == _CHAT:
            return True
        path = httptools.parse_url(self.url).path
        return path is not None and unquote(path.decode("ascii")) == CHAT
