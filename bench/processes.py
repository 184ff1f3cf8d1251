"""Processes under measurement: start and stop them, and read from /proc what CPU and memory they took."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_STOP_LIMIT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/<pid>/stat says: its parent, and user plus system time, its own and of children it has reaped."""

    parent: int
    own_s: float
    reaped_s: float


class Tree:
    """A process and all its descendants."""

    def __init__(self, root: int) -> None:
        self.root = root

    def cpu_s(self) -> float:
        """All CPU time of the tree. What an ended child used is its parent's, once that has reaped it.

        A child that is reaped between the reading of its parent and its own would be lost, so it is read until two
        readings in a row have found the same processes.
        """
        before: set[int] | None = None
        while True:
            stats = read_stats()
            tree = set(descendants(self.root, stats))
            if tree == before:
                # A whole number of ticks, which a sum of fractions is not quite.
                ticks = sum(round((stats[pid].own_s + stats[pid].reaped_s) * _TICKS_PER_S) for pid in tree)
                return ticks / _TICKS_PER_S
            before = tree

    def pss_mb(self) -> float:
        """Proportional set size: shared pages are divided among those who share them."""
        return sum(_pss_kb(pid) for pid in descendants(self.root, read_stats())) / 1000


def read_stats() -> dict[int, Stat]:
    """Every process that can be read. One that ends while we look is none."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # The name in parentheses may itself hold spaces and parentheses.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                user, system, children_user, children_system = (int(field) for field in fields[11:15])
                found[int(entry.name)] = Stat(
                    parent=int(fields[1]),
                    own_s=(user + system) / _TICKS_PER_S,
                    reaped_s=(children_user + children_system) / _TICKS_PER_S,
                )
    return found


def descendants(root: int, stats: Mapping[int, Stat]) -> Iterator[int]:
    """`root` and everything below it."""
    if root in stats:
        yield root
    for pid, stat in stats.items():
        if stat.parent == root:
            yield from descendants(pid, stats)


def find(root: int, words: str) -> list[int]:
    """The descendants of `root` whose command line holds `words`."""
    found = []
    for pid in descendants(root, read_stats()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if words in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(pid)
    return found


def _pss_kb(pid: int) -> int:
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    if match is None:
        raise LookupError(f"process {pid} does not tell its memory")
    return int(match[1])


@contextlib.contextmanager
def running(
    command: list[str], log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts, with everything it says in `log`."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, limit_s: float = 60.0) -> None:
    """Wait for a process to be ready. Raises with its log when it ends or takes too long."""
    give_up = time.monotonic() + limit_s
    while not ready():
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.01)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on the loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
