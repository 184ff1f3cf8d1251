"""Whose turn it is to write: one writer for all lanes together, or one for each lane.

A batch costs PostgreSQL a third of a millisecond whatever is in it. While little is under way, what all lanes have goes
in one; with more, lanes of their own use more than one core. Never both: the next turn begins when the last one's
operations have been answered, all of them and for certain, so that however a writer fails, nothing that another one
does to the same account can come before it.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from tallystick.reservations.batch import Batch, Operation
from tallystick.reservations.lane import Lane

# Operations in flight.
_APART_ABOVE: Final = 128
_TOGETHER_BELOW: Final = 64
# Those who go together wait for each other: so long for a turn to come, and not again before so much later.
_HAND_OVER_S: Final = 0.25
_APART_S: Final = 10.0


class Turns:
    """The writers of a process, and which of them new operations go to."""

    def __init__(self, lanes: int, dsn: str, *, batch_max: int, waiting_max: int, patience_s: float) -> None:
        def writer(number: int | None) -> Lane:
            return Lane(
                number,
                lanes,
                dsn,
                batch_max=batch_max,
                waiting_max=waiting_max,
                patience_s=patience_s,
                on_between=self._take_turns,
                on_away=self._stay,
                on_blocked=self._fall_apart if number is None and lanes > 1 else None,
            )

        self._loop = asyncio.get_running_loop()
        self._together: tuple[Lane, ...] = (writer(None),)
        self._apart = tuple(writer(number) for number in range(lanes)) if lanes > 1 else self._together
        self._writing: tuple[Lane, ...] = self._together
        # Where new operations go: to those who write, or to those who will when these have nothing left.
        self._next: tuple[Lane, ...] = self._together
        self._together_from = 0.0
        self._late: asyncio.TimerHandle | None = None
        self._stopping = False
        self._all_done = asyncio.Event()

    async def start(self) -> None:
        """Connect every writer, or none."""
        try:
            for lane in self._all():
                await lane.start()
        except BaseException:
            await self.stop()
            raise
        for lane in self._writing:
            lane.let_write(may=True)

    async def stop(self) -> None:
        """Take no more, write what waits, and close."""
        for lane in self._all():
            lane.close()
        # Turns change until the end: what waits may still go from one writer to another.
        self._stopping = True
        self._see_whether_all_is_done()
        await self._all_done.wait()
        for lane in self._all():
            await lane.stop()

    def lane(self, account: int) -> Lane:
        """Who writes the next operation on this account."""
        chosen = self._next
        if chosen is self._together and self._writing is chosen and chosen[0].in_flight >= _APART_ABOVE:
            chosen = self._next = self._apart
        return chosen[account % len(chosen)]

    def _take_turns(self) -> None:
        """A writer is between two batches."""
        if (
            self._next is self._writing is self._apart
            and all(lane.well for lane in self._all())
            and sum(lane.in_flight for lane in self._apart) < _TOGETHER_BELOW
            and self._loop.time() >= self._together_from
        ):
            self._next = self._together
            self._late = self._loop.call_later(_HAND_OVER_S, self._stay)
        if self._next is not self._writing and not any(lane.in_flight or lane.away for lane in self._writing):
            self._turn()
        self._see_whether_all_is_done()

    def _see_whether_all_is_done(self) -> None:
        if self._stopping and not any(lane.in_flight for lane in self._all()):
            self._all_done.set()

    def _turn(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        before, self._writing = self._writing, self._next
        for lane in before:
            lane.let_write(may=False)
        for lane in self._writing:
            lane.let_write(may=True)

    def _stay(self) -> None:
        """The turn does not change, for a writer is away or does not come to its end: what waits for the next one goes
        back to those who write, behind what they have."""
        if self._next is not self._writing:
            if self._late is not None:
                self._late.cancel()
            waiting, self._next = self._next, self._writing
            self._together_from = self._loop.time() + _APART_S
            for lane in waiting:
                self._take_over(self._writing, lane.hand_over())
        self._see_whether_all_is_done()

    def _fall_apart(self, batch: Batch) -> None:
        """What one lane needs, somebody else holds: each lane does what it can, beginning with this batch."""
        newer = [operation for lane in self._apart for operation in lane.hand_over()]
        self._take_over(self._apart, batch.operations())
        self._take_over(self._apart, self._together[0].hand_over())
        self._take_over(self._apart, newer)
        self._next = self._apart
        self._together_from = self._loop.time() + _APART_S
        self._turn()

    def _take_over(self, lanes: tuple[Lane, ...], operations: Iterable[Operation]) -> None:
        for operation in operations:
            account = operation[1][1]
            lanes[account % len(lanes)].take_over(operation)

    def _all(self) -> tuple[Lane, ...]:
        return self._together if self._apart is self._together else (*self._together, *self._apart)
