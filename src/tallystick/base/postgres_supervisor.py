"""Keeps one PostgreSQL server running for as long as somebody is connected to its control socket.

A process of its own, started by the first user (embedded_postgres.py) as a plain script with the standard library
only, because it must be there in milliseconds and must outlive whoever started it while others still use the server.

- Every user holds a connection. The kernel closes it however the user dies, so kill -9 of the last one stops the
  server as an orderly exit does, and there is nothing to clean up.
- PostgreSQL asks the kernel for SIGINT (its fast shutdown) when this process dies, so kill -9 of this one stops it too.
- A lock on a file makes it the only one. Whoever holds it knows that a postmaster.pid it finds is left over.
- A server that dies is started again. A recovery may take as long as it takes.
"""

import ctypes
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ANOTHER_IS_RUNNING = 75
_START_ATTEMPTS_MAX = 6
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TICK_S = 0.02
_IDLE_TICK_S = 60.0
_PROGRESS_EVERY_S = 5.0
_LOG_BYTES_MAX = 32 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """The loop: users come and go, the server is watched, and stopped when the last of them has left."""

    def __init__(self, orders: dict[str, Any], first_user: socket.socket) -> None:
        self.server = Server(orders)
        self.control = Path(orders["run"]) / "control"
        self.listener = socket.socket(socket.AF_UNIX)
        self.selector = selectors.DefaultSelector()
        self.users: set[socket.socket] = set()
        self.waiting: list[socket.socket] = []
        self._welcome(first_user)

    def run(self) -> int:
        self._open_door()
        while self.users and self.server.phase != "failed":
            before = self.server.news
            self.server.step()
            if self.server.news != before:
                for user in self.users:
                    self._tell(user)
            self.server.log.trim()
            timeout_s = _IDLE_TICK_S if self.server.phase == "ready" else _TICK_S
            for key, _ in self.selector.select(timeout_s):
                key.data(key.fileobj)
        # The door is shut first: who comes now finds nobody, starts a supervisor and waits for this one's lock.
        self.control.unlink(missing_ok=True)
        self.listener.close()
        self.server.stop()
        return 1 if self.server.phase == "failed" else 0

    def _open_door(self) -> None:
        self.control.unlink(missing_ok=True)
        self.listener.bind(str(self.control))
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, lambda door: self._welcome(door.accept()[0]))
        # An exiting server interrupts the select.
        bell, clapper = socket.socketpair()
        bell.setblocking(False)
        clapper.setblocking(False)
        signal.set_wakeup_fd(clapper.fileno(), warn_on_full_buffer=False)
        self.clapper = clapper
        self.selector.register(bell, selectors.EVENT_READ, lambda ringing: ringing.recv(4096))
        # Ctrl-C and a service manager's SIGTERM go to everyone; the users still need the database to finish.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

    def _welcome(self, user: socket.socket) -> None:
        user.setblocking(False)
        self.users.add(user)
        self.selector.register(user, selectors.EVENT_READ, self._hear)
        self._tell(user)

    def _hear(self, user: socket.socket) -> None:
        """A user only ever says that it leaves: by closing or dying, or by a byte when it waits for the stop."""
        try:
            waits = user.recv(64) != b""
        except OSError:
            waits = False
        self.users.discard(user)
        self.selector.unregister(user)
        if waits and not self.users:
            # Open until this process has ended, which is what the user waits for.
            self.waiting.append(user)
        else:
            user.close()

    def _tell(self, user: socket.socket) -> None:
        try:
            user.send(json.dumps(self.server.news).encode() + b"\n")
        except OSError:
            # It died, which the selector reports next, or it does not read, and then it misses the news.
            return


class Server:
    """PostgreSQL: `phase` is starting, ready or failed; `step` takes it one step further and never blocks for long."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.program: str = orders["postgres"]
        self.settings: dict[str, str] = orders["settings"]
        self.account: dict[str, Any] = orders["account"]
        self.home = Path(orders["home"])
        self.data = self.home / "data"
        self.run = Path(orders["run"])
        self.log = Log(self.home / "postgres.log")
        self.process: subprocess.Popen[bytes] | None = None
        self.phase = "starting"
        self.message = ""
        self.was_ready = False
        self.attempts = 0
        self.start_at = 0.0
        self.tell_at = time.monotonic() + _PROGRESS_EVERY_S

    @property
    def news(self) -> dict[str, object]:
        return {"phase": self.phase, "message": self.message, "pid": self.process.pid if self.process else None}

    def step(self) -> None:
        if self.process is None:
            self._start_when_due()
        elif (status := self.process.poll()) is not None:
            self.process = None
            self._plan_next_start(status)
        elif self.phase != "ready":
            if _reported_status(self.data, self.process.pid) == "ready":
                self.phase, self.message = "ready", "PostgreSQL is ready" if self.message else ""
                self.was_ready, self.attempts = True, 0
            else:
                self._tell_progress(self.log.last_line())

    def stop(self) -> None:
        """Fast shutdown: clients are disconnected and everything is written. It takes as long as the disk takes."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    def _start_when_due(self) -> None:
        if time.monotonic() < self.start_at:
            return
        leftover = _leftover_server(self.data)
        if leftover is not None:
            # Its supervisor was killed and it is on its way out already; asking again does no harm.
            os.kill(leftover, signal.SIGINT)
            self.start_at = time.monotonic() + 0.1
            self._tell_progress(f"an earlier server, process {leftover}, has to finish first")
            return
        configuration = self._write_configuration()
        self.log.mark()
        parent = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603 - the program we were ordered to run
            [self.program, "-D", str(self.data), "-c", f"config_file={configuration}"],
            stdin=subprocess.DEVNULL,
            cwd="/",
            umask=0o077,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509 - this process has no threads
            **self.account,
        )

    def _plan_next_start(self, status: int) -> None:
        if self.phase == "ready":
            self.phase, self.message = "starting", f"PostgreSQL ended with status {status} and is started again"
            self.start_at = 0.0
            return
        self.start_at = time.monotonic() + _BACKOFF_S[min(self.attempts, len(_BACKOFF_S) - 1)]
        self.attempts += 1
        told = self.log.since_mark()
        # A killed server's own children may keep its memory for a while, and a full disk may be emptied. Only a
        # server that never ran and says something else will not run by waiting.
        if self.attempts >= _START_ATTEMPTS_MAX and not self.was_ready and "shared memory block" not in told:
            self.phase = "failed"
            self.message = "PostgreSQL does not start: " + " ".join(told.strip().splitlines()[-3:])
        else:
            self._tell_progress(self.log.last_line())

    def _tell_progress(self, reason: str) -> None:
        if time.monotonic() >= self.tell_at:
            self.tell_at = time.monotonic() + _PROGRESS_EVERY_S
            self.message = f"PostgreSQL is still starting: {reason}"

    def _write_configuration(self) -> Path:
        path = self.home / "postgresql.conf"
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        lines = ["# Written at each start. Your own settings go into local.conf.", *lines]
        path.write_text("\n".join([*lines, f"include_if_exists = '{self.home / 'local.conf'}'", ""]))
        path.chmod(0o644)
        return path


class Log:
    """PostgreSQL's log, which is also this process's own output. Held open: it may be moved away under us."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.start = 0

    def redirect_output(self) -> None:
        os.dup2(self.file, 1)
        os.dup2(self.file, 2)

    def mark(self) -> None:
        self.start = os.fstat(self.file).st_size

    def since_mark(self) -> str:
        size = os.fstat(self.file).st_size
        begin = max(self.start, size - 8192)
        return os.pread(self.file, size - begin, begin).decode(errors="replace")

    def last_line(self) -> str:
        return "".join(self.since_mark().strip().splitlines()[-1:])

    def trim(self) -> None:
        """Everyone appends to the same open file, so it is emptied in place; the last part stays as postgres.log.1."""
        size = os.fstat(self.file).st_size
        if size > _LOG_BYTES_MAX:
            self.path.with_name("postgres.log.1").write_bytes(os.pread(self.file, _LOG_BYTES_MAX, 0))
            os.ftruncate(self.file, 0)
            self.start = 0


def _reported_status(data: Path, pid: int) -> str:
    """What the server says of itself in postmaster.pid, whose first line is its process and eighth its status."""
    lines = _pid_file(data)
    return lines[7].strip() if len(lines) > 7 and lines[0].strip() == str(pid) else ""


def _leftover_server(data: Path) -> int | None:
    """A server of this folder that is still running. A postmaster.pid that names anything else is removed.

    PostgreSQL itself only asks whether some process has that number, and would refuse to start for a stranger's.
    """
    lines = _pid_file(data)
    pid = int(lines[0]) if lines and lines[0].strip().isdigit() else None
    if pid is not None and _folder_of_process(pid) == data.resolve():
        return pid
    if Path("/proc/self").exists():
        (data / "postmaster.pid").unlink(missing_ok=True)
    return None


def _folder_of_process(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True)
    except OSError:
        # It is gone, or it is another user's and so not our server.
        return None


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _die_with(parent: int) -> None:
    """In the child, after it has changed its user (which would clear this): PostgreSQL stops when we die."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)


def _make_socket_folders(run: Path, account: dict[str, Any]) -> None:
    """The one for PostgreSQL belongs to its user; the one around it, with the control socket, to us."""
    run.mkdir(mode=0o711, exist_ok=True)
    if run.is_symlink() or run.stat().st_uid != os.geteuid():
        sys.exit(f"{run} belongs to another user: use a data folder with a shorter name")
    run.chmod(0o711)
    sockets = run / "pg"
    sockets.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(sockets, account["user"], account["group"])


def main(orders: dict[str, Any], first_user: socket.socket) -> int:
    """The exit status tells the one who started us: 0 there is a supervisor now, ANOTHER_IS_RUNNING, or a failure."""
    os.umask(0o077)
    home = Path(orders["home"])
    lock = os.open(home / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ANOTHER_IS_RUNNING
    _make_socket_folders(Path(orders["run"]), orders["account"])
    # The one who started us only waits for what could go wrong so far; the lock goes on with the child.
    if os.fork() != 0:
        return 0
    supervisor = Supervisor(orders, first_user)
    supervisor.server.log.redirect_output()
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
