"""Where a month takes place: an offline Stripe whose clock begins weeks ago, and our server, which may be killed."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import asyncpg
import httpx
import msgspec

from tallystick.app.startup import Startup
from tallystick.base.changes import Changes
from tallystick.base.database import open_pool
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.stripe.client import StripeClient
from tallystick.reservations.lanes import Lanes
from tallystick.settings import Settings
from tallystick.subscriptions.live import LiveConstraints
from tests.flows.month.act import DAYS

DAY_S: Final = 24 * 3600
_SECRET, _KEY, SERVICE = "whsec_of_the_month", "sk_test_of_the_month", "a-service-of-the-month"
_START_LIMIT_S: Final = 60.0


@dataclass
class Stage:
    """`stripe`, `inbox` and `lanes` are ours, of another host than the server; `http` speaks to the server."""

    dsn: str
    pool: asyncpg.Pool
    stripe_address: str
    stripe: StripeClient
    inbox: Inbox
    lanes: Lanes
    constraints: LiveConstraints
    startup: Startup
    folder: Path
    http: httpx.AsyncClient
    controls: httpx.AsyncClient
    kills: int = 0
    _server: "subprocess.Popen[bytes] | None" = None
    _log: IO[bytes] | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)

    async def control(self, path: str, /, **body: object) -> Any:
        """What nobody but Stripe, its customers and their banks can do. Raises Refused where it makes no sense."""
        answer = await self.controls.post(f"/_sandbox/{path}", json=body)
        if answer.status_code != httpx.codes.OK:
            raise Refused(f"{path}: {answer.text}")
        return answer.json()

    async def now(self) -> datetime:
        """By Stripe's clock."""
        return datetime.fromtimestamp((await self.control("clock", advance_s=0))["now"], UTC)

    async def start(self) -> None:
        self._log = (self.folder / "server.log").open("ab")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.month.server"],
            stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, start_new_session=True,
            cwd=Path(__file__).parents[3],
            env={name: value for name, value in os.environ.items() if not name.startswith(("TALLYSTICK_", "STRIPE_"))},
        )  # fmt: skip
        assert self._server.stdin is not None
        self._server.stdin.write(msgspec.json.encode(self.startup, enc_hook=str) + b"\n")
        self._server.stdin.flush()
        async with asyncio.timeout(_START_LIMIT_S):
            while not await self._answers():
                if self._server.poll() is not None:
                    raise AssertionError(f"the server ended:\n{(self.folder / 'server.log').read_text()[-4000:]}")
                await asyncio.sleep(0.1)
        self.up.set()

    async def kill(self) -> None:
        """Without a word, whatever it is at; and another one is started."""
        self.end(signal.SIGKILL)
        self.kills += 1
        await self.start()

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        server, log = self._server, self._log
        self.up.clear()
        if server is None:
            return
        server.send_signal(number)
        assert server.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            server.stdin.close()
        try:
            server.wait(40)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        self._server = None
        if log is not None:
            log.close()

    async def _answers(self) -> bool:
        try:
            return (await self.http.get("/api/openapi.json")).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


class Refused(Exception):
    """The offline Stripe does not do this now."""


@contextlib.asynccontextmanager
async def open_stage(dsn: str, *, seed: int) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-month-")))
        port = _free_port()
        address = f"http://127.0.0.1:{port}"
        stripe_address = stack.enter_context(_stripe(folder, f"{address}/api/credits/webhook", seed))
        settings = Settings(
            data_dir=folder / "data", port=port, stripe_api_key=_KEY, stripe_api_base=stripe_address,
            stripe_webhook_secret=_SECRET, services_tokens=SERVICE, transfer_to="GB00 TEST",
            return_hosts="app.example.com", log_level="warning",
        )  # fmt: skip
        pool = await stack.enter_async_context(await open_pool(dsn, size_max=10, application="tallystick-month"))
        stripe = StripeClient(_KEY, api_base=stripe_address)
        stack.push_async_callback(stripe.close)
        lanes, changes = Lanes(dsn), Changes(dsn)
        await lanes.start()
        stack.push_async_callback(lanes.stop)
        http = httpx.AsyncClient(base_url=address, timeout=30)
        controls = httpx.AsyncClient(base_url=stripe_address, timeout=120)
        for client in (http, controls):
            stack.push_async_callback(client.aclose)
        stage = Stage(
            dsn=dsn, pool=pool, stripe_address=stripe_address, stripe=stripe,
            inbox=Inbox(pool, secrets=(_SECRET,), livemode=False, stripe=stripe), lanes=lanes,
            constraints=LiveConstraints(pool, changes), startup=Startup(settings=settings, dsn=dsn), folder=folder,
            http=http, controls=controls,
        )  # fmt: skip
        stack.callback(stage.end)
        try:
            yield stage
        except BaseException:
            sys.stderr.write((folder / "server.log").read_text()[-20_000:])
            raise


@contextlib.contextmanager
def _stripe(folder: Path, webhook_url: str, seed: int) -> Any:
    command = [
        *(sys.executable, "-m", "tallystick.sandbox.stripe", "--port", "0", "--seed", str(seed)),
        *("--behind-s", str(DAYS * DAY_S), "--debit-delay-s", "-1"),
        *("--webhook-url", webhook_url, "--webhook-secret", _SECRET),
    ]
    with (folder / "stripe.log").open("wb") as log, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
        process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
