"""`tallystick serve`: one supervisor keeps the database, the maintenance and N workers up."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from tallystick.app.books import open_books
from tallystick.app.maintenance import Maintenance
from tallystick.app.startup import Startup
from tallystick.base.errors import Misconfigured
from tallystick.settings import Settings

log = structlog.get_logger()

_RESTART_PAUSE_S: Final = 0.5
_RESTART_PAUSE_S_MAX: Final = 5.0
# A worker that was never ready and dies this often will not get better by trying again. One that was ready before is
# started again for as long as it takes: its database may be away.
_FAILED_STARTS_MAX: Final = 5


async def serve(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; `announce` gets the address once every worker answers."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _refuse_taken_port(settings.host, settings.port)
    _warn(settings)
    async with open_books(settings) as dsn:
        with tempfile.TemporaryDirectory(prefix="tallystick-metrics-") as metrics:
            startup = Startup(settings=settings, dsn=dsn)
            workers = [Worker(number, startup, metrics) for number in range(settings.workers)]
            async with Maintenance(settings, dsn):
                keepers = [asyncio.create_task(worker.keep(stop)) for worker in workers]
                try:
                    if await _all_ready(workers, keepers):
                        announce(settings.address)
                    await _first_of(stop, keepers)
                finally:
                    stop.set()
                    await asyncio.gather(*(worker.end(settings.shutdown_s + 5) for worker in workers))
                    results = await asyncio.gather(*keepers, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
    log.info("stopped")


class Worker:
    """One child process that answers requests. It hears of the supervisor's death by the end of its standard input."""

    def __init__(self, number: int, startup: Startup, metrics: str) -> None:
        self.ready = asyncio.Event()
        self._number = number
        self._first_line = msgspec.json.encode(startup, enc_hook=str) + b"\n"
        self._metrics = metrics
        self._process: asyncio.subprocess.Process | None = None

    async def keep(self, stop: asyncio.Event) -> None:
        """Start the process, and start it again whenever it ends, until `stop` is set."""
        failed_starts, was_ready = 0, False
        while not stop.is_set():
            self.ready.clear()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tallystick.app.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Before prometheus_client is imported, this folder decides that the workers count together.
                env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": self._metrics},
                # Ctrl-C in a terminal reaches the whole process group; only the supervisor shall act on it.
                start_new_session=True,
            )
            if await self._started(self._process):
                failed_starts, was_ready = 0, True
                self.ready.set()
            else:
                failed_starts += 1
            code = await self._process.wait()
            if stop.is_set():
                return
            log.error("worker ended", worker=self._number, exit_code=code)
            if failed_starts >= _FAILED_STARTS_MAX and not was_ready:
                raise Misconfigured("The server's workers do not start; the lines above say why.")
            await _sleep_unless(stop, min(_RESTART_PAUSE_S * 2**failed_starts, _RESTART_PAUSE_S_MAX))

    async def end(self, limit_s: float) -> None:
        """Ask the process to finish its requests and stop; kill it when the limit is over."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), limit_s)
            except TimeoutError:
                log.warning("worker did not stop in time", worker=self._number, limit_s=limit_s)
                process.kill()

    async def _started(self, process: asyncio.subprocess.Process) -> bool:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a worker was started without its pipes")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(self._first_line)
            await process.stdin.drain()
        return await process.stdout.readline() == b"ready\n"


async def _sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _all_ready(workers: list[Worker], keepers: list[asyncio.Task[None]]) -> bool:
    """False where a worker could not be started."""

    async def every_one() -> None:
        for worker in workers:
            await worker.ready.wait()

    waiting = asyncio.create_task(every_one())
    await asyncio.wait([waiting, *keepers], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        return False
    return True


async def _first_of(stop: asyncio.Event, keepers: list[asyncio.Task[None]]) -> None:
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *keepers], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


def _refuse_taken_port(host: str, port: int) -> None:
    # SO_REUSEPORT would let two servers share the port in silence, and split the requests between them.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Misconfigured(f"Cannot listen on {host}:{port} ({error.strerror}); set TALLYSTICK_PORT.") from None


def _warn(settings: Settings) -> None:
    if not settings.stripe_webhook_secret:
        log.warning("webhook endpoint closed", mend="set STRIPE_WEBHOOK_SECRET")
    if not settings.stripe_api_key:
        log.warning("purchases closed", mend="set STRIPE_API_KEY")
    if not settings.smtp_url:
        log.warning("mails are kept and not sent", mend="set SMTP_URL and TALLYSTICK_MAIL_FROM")
    if not settings.sealing_keys:
        log.warning("webhooks to customers closed", mend="set TALLYSTICK_SEALING_KEYS")
    if not settings.services_tokens:
        log.warning("deducting closed", mend="set TALLYSTICK_SERVICES_TOKENS")
