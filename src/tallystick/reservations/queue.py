"""What waits for one writer, in its order: batches that are full, and one that is not."""

from asyncio import Future
from collections import deque
from collections.abc import Iterator
from typing import Any

from tallystick.reservations.batch import Batch, Entry, Extra, Operation, StepName


class Queue:
    """Operations that nobody has sent yet."""

    def __init__(self, batch_max: int) -> None:
        self._batch_max = batch_max
        self._open = Batch()
        self._full: deque[Batch] = deque()
        self.size = 0

    def append(self, name: StepName, entry: Entry, future: "Future[Any]", extra: Extra = None) -> None:
        """Let it go with the last batch, and with an operation that is there already and the same."""
        batch = self._open
        if entry[0].int in batch.places:
            if batch.join(getattr(batch, name), entry, future, extra):
                return
            # An id stands in a batch once: the other operation with it must see what this one left.
            batch = self._close_batch()
        elif len(batch.places) >= self._batch_max:
            batch = self._close_batch()
        batch.add(getattr(batch, name), entry, future, extra)
        self.size += 1

    def take_batch(self) -> Batch | None:
        """The batch that is next, or None."""
        if self._full:
            batch = self._full.popleft()
        elif self._open.places:
            batch, self._open = self._open, Batch()
        else:
            return None
        self.size -= len(batch)
        return batch

    def take_all(self) -> Iterator[Operation]:
        """Everything, in its order."""
        waiting = (*self._full, self._open)
        self._full.clear()
        self._open = Batch()
        self.size = 0
        return (operation for batch in waiting for operation in batch.operations())

    def _close_batch(self) -> Batch:
        self._full.append(self._open)
        self._open = Batch()
        return self._open
