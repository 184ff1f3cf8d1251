"""A client in a process of its own, for streams and for machines without wrk: `python -m bench.client`."""

import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import quantiles
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import uvloop

# The longest that answers which have begun may take after the time is over.
_LAST_ANSWERS_S: Final = 60


class Tally:
    """What all connections together saw."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.events = 0
        self.refused = 0
        self.broken = 0


class Connection(asyncio.Protocol):
    """Sends the request, reads the answer to its end, and again until the time is over."""

    def __init__(self, request: bytes, stop_at: float, tally: Tally) -> None:
        self.request = request
        self.stop_at = stop_at
        self.tally = tally
        self.carried = b""
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast(asyncio.WriteTransport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.finished.done():
            self.tally.broken += 1
            self.finished.set_result(None)

    def on_body(self, body: bytes) -> None:
        # An event ends with an empty line, which may come in two pieces.
        self.tally.events += (self.carried + body).count(b"\n\n")
        self.carried = b"\n" if body.endswith(b"\n") and not body.endswith(b"\n\n") else b""

    def on_message_complete(self) -> None:
        self.tally.latencies_ms.append((time.perf_counter() - self.sent_at) * 1000)
        self.tally.refused += self.parser.get_status_code() > 399
        if time.perf_counter() < self.stop_at:
            self._send()
        else:
            self.finished.set_result(None)
            self.transport.close()

    def _send(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.carried = b""
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)


async def press(url: str, body: bytes, key: str, connections: int, seconds: float) -> dict[str, float]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    tally, begun = Tally(), time.perf_counter()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(head.encode() + body, begun + seconds, tally), host, port)
        for _ in range(connections)
    ]
    async with asyncio.timeout(seconds + _LAST_ANSWERS_S):
        await asyncio.gather(*(connection.finished for _, connection in opened))
    hundredths = quantiles(tally.latencies_ms, n=100) if len(tally.latencies_ms) > 1 else tally.latencies_ms * 99
    return {
        "requests": len(tally.latencies_ms),
        "refused": tally.refused,
        "broken": tally.broken,
        "seconds": time.perf_counter() - begun,
        "p50_ms": hundredths[49] if hundredths else 0.0,
        "p99_ms": hundredths[98] if hundredths else 0.0,
        "events": tally.events,
    }


if __name__ == "__main__":
    url, body, key, connections, seconds = sys.argv[1:]
    seen = uvloop.run(press(url, Path(body).read_bytes(), key, int(connections), float(seconds)))
    print("result", json.dumps(seen))
