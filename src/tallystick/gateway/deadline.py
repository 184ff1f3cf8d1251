"""A limit on time for a block of code in a task, that can be moved while it runs.

It does what asyncio.timeout does, for a fraction of the CPU: hardly any limit is ever reached, so those that would be
reached at about the same time share a timer.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

# How late a limit may be noticed: this part of it. Shorter ones have a timer of their own.
_LATE: Final = 1 / 20
_SHARED_S_MIN: Final = 5.0

_Key = tuple[asyncio.AbstractEventLoop, float, int]
_shared: dict[_Key, set["Deadline"]] = {}


class Deadline:
    """Raises TimeoutError out of the block when the time is up."""

    __slots__ = ("_key", "_loop", "_task", "_timer", "expired")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("only a task can be limited")
        self._loop = self._task.get_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._key: _Key | None = None
        self.expired = False

    def within(self, seconds: float) -> Self:
        """Be done this many seconds from now, whatever was said before."""
        self._forget()
        if seconds < _SHARED_S_MIN:
            self._timer = self._loop.call_later(seconds, self.expire)
            return self
        step = seconds * _LATE
        slot = int((self._loop.time() + seconds) / step) + 1
        key = self._key = self._loop, step, slot
        sharing = _shared.get(key)
        if sharing is None:
            _shared[key] = {self}
            self._loop.call_at(slot * step, _expire_all, key)
        else:
            sharing.add(self)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._forget()
        # Another cancellation that came at the same moment goes first.
        if self.expired and task is not None and task.uncancel() <= 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._key is not None:
            _shared[self._key].discard(self)
            self._key = None

    def expire(self) -> None:
        self._key = None
        if self._task is not None and not self.expired:
            self.expired = True
            self._task.cancel()


def _expire_all(key: _Key) -> None:
    for deadline in _shared.pop(key):
        deadline.expire()
