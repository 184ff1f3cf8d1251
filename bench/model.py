"""The sandbox's model as an upstream: it paces streams, and stands in for nginx where that is not installed."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import nginx
from bench.processes import free_port, listens, running, wait_until


@contextlib.contextmanager
def whole_answers(folder: Path) -> Iterator[int]:
    """The port of a model that gives the same answer at once: the one that leaves most CPU to the others."""
    if nginx.is_installed():
        with nginx.stand_in(folder) as stand_in:
            yield stand_in.port
    else:
        with _sandbox(folder, "--canned") as port:
            yield port


@contextlib.contextmanager
def paced_answers(folder: Path, between_ms: float) -> Iterator[int]:
    """The port of a model that lets so much time pass between the events of a stream."""
    with _sandbox(folder, "--chunk-delay-ms", str(between_ms)) as port:
        yield port


@contextlib.contextmanager
def _sandbox(folder: Path, *options: str) -> Iterator[int]:
    port, log = free_port(), folder / "sandbox.log"
    command = [sys.executable, "-m", "tallystick.sandbox.model", "--port", str(port), *options]
    with running(command, log) as process:
        wait_until(lambda: listens(port), process, log)
        yield port
