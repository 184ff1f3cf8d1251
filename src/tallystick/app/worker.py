"""One process that answers requests: `python -m tallystick.app.worker`, started by the supervisor.

Everything is wired together here: the gateway for /v1/*, the JSON API, and what an operator's machines ask.
"""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, cast

import asyncpg
import structlog
import uvicorn
import uvloop
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tallystick.accounts.authenticate import KeyRing
from tallystick.api.app import create_api
from tallystick.api.dependencies import ApiDependencies
from tallystick.app import logs
from tallystick.app.asgi import Application, Receive, Scope, Send
from tallystick.app.credentials import Credentials
from tallystick.app.operations import PATHS, Operations
from tallystick.app.startup import Startup, decode
from tallystick.base.changes import Changes
from tallystick.base.database import AWAY, open_pool
from tallystick.base.errors import TallystickError
from tallystick.base.sealed import Sealer
from tallystick.catalog.live import LiveBook
from tallystick.gateway.journal import Journal
from tallystick.gateway.limits import Limits
from tallystick.gateway.protocol import GatewayProtocol
from tallystick.gateway.rates import Rates
from tallystick.gateway.server import GatewayApp
from tallystick.gateway.upstream import Upstream, UpstreamLimits
from tallystick.notices.fence import Fence
from tallystick.payments.debts.debt import DISPUTE_POLICY, Policy
from tallystick.payments.stripe.client import StripeClient
from tallystick.reservations.lanes import Lanes
from tallystick.settings import Settings
from tallystick.subscriptions.live import LiveConstraints

log = structlog.get_logger()

_READY_ANSWER_S: Final = 2.0


@contextlib.asynccontextmanager
async def application(startup: Startup) -> AsyncIterator[tuple[Application, GatewayApp]]:
    """The whole ASGI application and the gateway in it, with everything they stand on started; stopped in the
    opposite order."""
    settings = startup.settings
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            await open_pool(startup.dsn, size_max=settings.database_connections, application="tallystick-worker")
        )
        DISPUTE_POLICY.set(cast("Policy", settings.debt_policy))
        lanes, changes = Lanes(startup.dsn), Changes(startup.dsn)
        keyring, constraints = KeyRing(pool, changes), LiveConstraints(pool, changes)
        book = LiveBook(pool, changes, Credentials(pool, settings.sealing_keys))
        for part in (lanes, changes, book):
            await part.start()
            stack.push_async_callback(part.stop)
        rates = Rates(settings.redis_url)
        stack.push_async_callback(rates.stop)
        gateway = GatewayApp(
            pool=pool,
            lanes=lanes,
            keyring=keyring,
            constraints=constraints,
            rates=rates,
            book=lambda: book.current,
            upstream=Upstream(_upstream_limits(settings)),
            journal=Journal(settings.data_dir / "journals"),
            limits=_limits(settings),
        )
        await gateway.start()
        stack.push_async_callback(gateway.shutdown)
        stripe = None
        if settings.stripe_api_key:
            stripe = StripeClient(settings.stripe_api_key, api_base=settings.stripe_api_base)
            stack.push_async_callback(stripe.close)
        dependencies = ApiDependencies(
            pool=pool,
            lanes=lanes,
            changes=changes,
            keyring=keyring,
            book=lambda: book.current,
            public_url=settings.address,
            stripe=stripe,
            webhook_secrets=settings.listed("stripe_webhook_secret"),
            service_tokens=settings.listed("services_tokens"),
            purchase_min=settings.purchase_min,
            purchase_max=settings.purchase_max,
            transfer_to=settings.transfer_to,
            sign_up_open=settings.sign_up_open,
            return_hosts=settings.listed("return_hosts"),
            live_constraints=constraints,
            sealer=Sealer.parse(settings.sealing_keys) if settings.sealing_keys else None,
            webhook_fence=Fence(loopback=settings.webhooks_to_loopback),
        )
        stack.push_async_callback(dependencies.stop)
        operations = Operations(
            lambda: _unready(pool, gateway), shared_metrics=os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        )
        # In here and not in the web server, which would run it on every paid call too. Only a proxy on this machine
        # is believed about whom it speaks for.
        behind_proxy = cast("Application", ProxyHeadersMiddleware(cast("Any", create_api(dependencies))))
        yield _joined(gateway, behind_proxy, operations), gateway


def _joined(gateway: Application, api: Application, operations: Application) -> Application:
    """Plain dispatch by path: a router in front of the gateway would cost every paid call."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await api(scope, receive, send)
        path: str = scope["path"]
        if path.startswith("/v1/"):
            return await gateway(scope, receive, send)
        if path in PATHS:
            return await operations(scope, receive, send)
        return await api(scope, receive, send)

    return application


async def _unready(pool: asyncpg.Pool, gateway: GatewayApp) -> str | None:
    try:
        async with asyncio.timeout(_READY_ANSWER_S):
            await pool.fetchval("select 1")
    except AWAY:
        return "The database does not answer."
    return await gateway.unready()


def _limits(settings: Settings) -> Limits:
    return Limits(
        body_bytes_max=settings.body_max_bytes,
        body_s=settings.body_timeout_s,
        choices_max=settings.choices_max,
        max_tokens_default=settings.max_tokens_default,
        clamp_tokens_min=settings.clamp_tokens_min,
        drain_s=settings.drain_s,
        hold_s=int(settings.hold_s),
        shutdown_s=settings.shutdown_s,
        purchase_url=f"{settings.address}/cockpit/settings/billing",
        own_key_url=f"{settings.address}/cockpit/settings/models",
    )


def _upstream_limits(settings: Settings) -> UpstreamLimits:
    return UpstreamLimits(
        connect_s=settings.upstream_connect_s,
        first_byte_s=settings.upstream_first_byte_s,
        between_s=settings.upstream_between_s,
        total_s=settings.upstream_total_s,
    )


async def run(startup: Startup) -> None:
    """Serve until SIGTERM, or until the supervisor is gone."""
    settings = startup.settings
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _watch_supervisor(loop, stop)
    async with application(startup) as (served, gateway):
        server = _Server(
            uvicorn.Config(
                served,
                http=cast("type[asyncio.Protocol]", functools.partial(GatewayProtocol, gateway=gateway)),
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=4096,
                timeout_graceful_shutdown=int(settings.shutdown_s),
            )
        )
        with _listening_socket(settings.host, settings.port) as listener:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            # At the same time: what runs gets its time once, and new calls are refused from now on.
            await gateway.shutdown()
            await serving
            stopping.cancel()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Nothing that is alive now will ever be garbage: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        # A paid call leaves no cycles behind: looking for them after every 700 objects finds nothing.
        gc.set_threshold(10_000, 20, 50)
        print("ready", flush=True)  # noqa: T201 - the word that the supervisor waits for

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are the signals: uvicorn would stop at the first one and stop waiting at the second."""
        yield


def _listening_socket(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def _watch_supervisor(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The end of standard input is the end of the supervisor, however it died: no worker may outlive it."""

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    loop.add_reader(sys.stdin.fileno(), read)


def main() -> None:
    startup = decode(sys.stdin.buffer.readline())
    logs.configure(startup.settings.log_level, startup.settings.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(startup))
    except (TallystickError, OSError, asyncpg.PostgresError) as error:
        log.error("worker cannot start", reason=str(error) or type(error).__name__)  # noqa: TRY400 - an expected refusal
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
