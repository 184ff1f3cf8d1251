"""A gateway, or any ASGI application, behind the real web server, on a free port."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from tallystick.gateway.protocol import GatewayProtocol
from tallystick.gateway.server import GatewayApp


@contextlib.asynccontextmanager
async def serve(app: Any, *, patient: bool = False, **options: Any) -> AsyncIterator[str]:
    """Its address. A patient server lets answers that have begun come to their end when it stops."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    http: Any = functools.partial(GatewayProtocol, gateway=app) if isinstance(app, GatewayApp) else "httptools"
    options = {"access_log": False, "proxy_headers": False, **options}
    config = uvicorn.Config(app, http=http, log_level="critical", lifespan="off", ws="none", **options)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
    running = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        server.force_exit = not patient
        await running
        sock.close()
