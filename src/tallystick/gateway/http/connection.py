"""One connection to a provider: a call goes out, its answer comes back, and then the next call's turn is."""

import asyncio
import select
from collections.abc import Callable
from typing import Final, cast

import httptools
from msgspec import Struct

from tallystick.base.errors import UpstreamFailed, UpstreamTimeout
from tallystick.gateway.http.address import Address
from tallystick.gateway.http.reply import Headers, Reply

# Bytes of a head, of the trailers, or of anything else that is no content.
_HEAD_BYTES_MAX: Final = 65_536
# Beyond this the provider waits until the call has read what there is.
_AHEAD_BYTES_MAX: Final = 262_144
# Up to here a copy costs less than a second buffer.
_JOINED_BYTES_MAX: Final = 65_536
_JUST_NOW_S: Final = 0.01
_NEVER: Final = float("inf")


class Waits(Struct, frozen=True, kw_only=True):
    """How long a provider may take from the request to its first byte, and from one byte to the next."""

    first_byte_s: float
    between_s: float


class Connection(asyncio.Protocol):
    """It never repeats a call: what was written may have been read, and a model's answer costs money each time.

    `over` is called once for each call, when its answer has come or will not come any more. Timeouts are a moment,
    `due`, that whoever owns the connection looks at: a timer for each call would cost more than all else here.
    """

    def __init__(self, address: Address, waits: Waits, over: Callable[["Connection"], None]) -> None:
        self.address = address
        self.due = _NEVER
        self.idle_since = 0.0
        self._waits = waits
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._reply: Reply | None = None
        self._headers: Headers = []
        # Bytes that came since there was a head or content.
        self._idle_bytes = 0
        self._keep = True
        self._paused = False
        self._poll = select.poll()

    # For the owner.

    def is_open(self) -> bool:
        return self._keep and not self._transport.is_closing()

    def is_fresh(self) -> bool:
        """Whether a call can go out. What the provider has said before it was asked can only be good-bye, or the
        answer to somebody else's question; it is looked for where the event loop may not have come round to it."""
        if not self.is_open():
            return False
        return self.idle_since > self._loop.time() - _JUST_NOW_S or not self._poll.poll(0)

    def send(self, head: bytes, body: bytes) -> Reply:
        """`head` is all that goes before the body."""
        reply = self._reply = Reply(self, self._loop)
        self._headers, self._idle_bytes = [], 0
        self.due = self._loop.time() + self._waits.first_byte_s
        if len(body) <= _JOINED_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        return reply

    def close(self) -> None:
        self._keep = False
        self._transport.abort()

    def time_out(self) -> None:
        self._fail(UpstreamTimeout("The provider did not answer in time."))

    # For the answer (see reply.Source).

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self.due = self._loop.time() + self._waits.between_s
            self._transport.resume_reading()

    def give_up(self) -> None:
        self._keep = False
        self._end()

    # For the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport without being one.
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self.close()  # nobody has asked
            return
        self._idle_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._keep = False
            if not reply.complete:
                self._fail(_broken_off())
                return
        if reply.complete:
            self._end()
        elif self._idle_bytes > _HEAD_BYTES_MAX:
            self._fail(UpstreamFailed("The provider sent a head larger than this server takes."))
        elif not self._paused:
            self.due = self._loop.time() + self._waits.between_s

    def eof_received(self) -> None:
        reply = self._reply
        self._keep = False
        if reply is None or not reply.status or reply.header("content-length") or reply.header("transfer-encoding"):
            return  # the transport closes by itself, and an answer that was under way is broken off
        reply.end()
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._fail(_broken_off())

    # For the parser. Interim answers (1xx) have a head and an end, and mean nothing here.

    def on_message_begin(self) -> None:
        if self._reply is not None and self._reply.complete:
            self._keep = False  # a second answer to one question

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status, reply = self._parser.get_status_code(), self._reply
        headers, self._headers = self._headers, []
        if reply is None or reply.status or status < 200:
            return
        self._idle_bytes = 0
        self._keep = self._keep and self._parser.should_keep_alive()
        reply.begin(status, headers)

    def on_body(self, body: bytes) -> None:
        reply = self._reply
        if reply is None or reply.complete:
            return
        self._idle_bytes = 0
        reply.add(body)
        if reply.size > _AHEAD_BYTES_MAX and not self._paused and not self._transport.is_closing():
            self._paused, self.due = True, _NEVER
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._reply is not None and self._reply.status:
            self._reply.end()

    def _fail(self, failure: UpstreamFailed) -> None:
        self._keep = False
        if self._reply is not None:
            self._reply.fail(failure)
            self._end()

    def _end(self) -> None:
        """This call is over; whether another may follow is for the owner to ask."""
        self._reply, self.due = None, _NEVER
        # A provider that answers before it has heard everything may not want to hear the rest.
        if not self._keep or self._transport.get_write_buffer_size():
            self.close()
        elif self._paused:
            # Else nobody would notice how the provider closes.
            self._paused = False
            self._transport.resume_reading()
        self._over(self)


def _broken_off() -> UpstreamFailed:
    return UpstreamFailed("The provider broke off its answer.")
