"""What an operator's machines ask: /healthz (the process runs), /readyz (it can take paid calls), /metrics."""

from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

from tallystick.app.asgi import Receive, Scope, Send, answer

PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class Operations:
    """`ready` answers None when paid calls can be taken, else why not. `shared_metrics` is the folder in which the
    workers of one server keep their counters together; without it each process shows its own."""

    def __init__(self, ready: Callable[[], Awaitable[str | None]], *, shared_metrics: str | None) -> None:
        self._ready = ready
        self._shared_metrics = shared_metrics

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/metrics":
            await answer(send, 200, self._metrics(), CONTENT_TYPE_LATEST)
        elif scope["path"] == "/healthz":
            await answer(send, 200, b'{"status":"ok"}')
        elif (problem := await self._ready()) is None:
            await answer(send, 200, b'{"status":"ready"}')
        else:
            await answer(send, 503, orjson.dumps({"status": "not ready", "reason": problem}))

    def _metrics(self) -> bytes:
        if self._shared_metrics is None:
            return generate_latest(REGISTRY)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together, path=self._shared_metrics)  # type: ignore[no-untyped-call]
        return generate_latest(together)
