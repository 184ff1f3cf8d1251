"""Cut a stream of bytes into server-sent events, wherever the network cut it (pure)."""

import re
from typing import Final, NamedTuple

# A blank line ends an event. The groups are atomic: else "\r\n" could be read as two line ends.
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class Event(NamedTuple):
    """`raw` is to be passed on as it came; `data` is what it says, None for a comment or a mere name."""

    raw: bytes
    data: bytes | None


class EventTooLarge(Exception):
    """One event is larger than anybody should have to hold in memory."""


class EventSplitter:
    """Feed it blocks; it gives the events that are whole by then and keeps the rest, up to `bytes_max`."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rest = b""

    def feed(self, block: bytes) -> list[Event]:
        if not self._rest and block.endswith(b"\n\n") and b"\r" not in block:
            return [_event(part + b"\n\n") for part in block[:-2].split(b"\n\n")]
        events, start = [], 0
        pending = self._rest + block
        # What was searched before cannot hold a blank line, except across the seam.
        for end in _BLANK_LINE.finditer(pending, max(0, len(self._rest) - 3)):
            if end.end() == len(pending) and pending.endswith(b"\r"):
                break  # the other half of this line end may still be on its way
            events.append(_event(pending[start : end.end()]))
            start = end.end()
        self._rest = pending[start:]
        if len(self._rest) > self._bytes_max:
            raise EventTooLarge
        return events

    def flush(self) -> list[Event]:
        """What a stream left behind that ended without its last blank line."""
        rest, self._rest = self._rest, b""
        return [_event(rest.rstrip(b"\r\n") + b"\n\n")] if rest.strip() else []


def _event(raw: bytes) -> Event:
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
        return Event(raw, raw[6:-2])
    parts = [_field_value(line) for line in _LINE_END.split(raw) if line.startswith(b"data:") or line == b"data"]
    return Event(raw, b"\n".join(parts) if parts else None)


def _field_value(line: bytes) -> bytes:
    return line.partition(b":")[2].removeprefix(b" ")
