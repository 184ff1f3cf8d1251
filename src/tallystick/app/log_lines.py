"""Where log lines go: in order, and those of one pass of the event loop in one write."""

import asyncio
from threading import Lock
from typing import TextIO


class LogLines:
    """A file for loggers. A pass in which many calls end has a line for each of them, and a write for each would cost
    more than the lines."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._held: list[str] = []
        self._lock = Lock()

    def write(self, text: str) -> int:
        """At once, after whatever was to be written soon."""
        with self._lock:
            self._held.append(text)
            self._write_out()
        return len(text)

    def flush(self) -> None:
        self._file.flush()

    def write_soon(self, text: str) -> None:
        """After this pass of the event loop; at once where there is none."""
        with self._lock:
            self._held.append(text)
            if len(self._held) > 1:
                return
            try:
                asyncio.get_running_loop().call_soon(self._write_held)
            except RuntimeError:
                self._write_out()

    def _write_held(self) -> None:
        with self._lock:
            if self._held:
                self._write_out()

    def _write_out(self) -> None:
        held, self._held = self._held, []
        self._file.write("".join(held))
        self._file.flush()
