"""The writer of one lane, or of all: collects operations while its connection is busy, then posts them in one call.

Never a timer: when the connection is free, what there is goes at once; under load batches fill by themselves.
"""

import asyncio
from asyncio import Future
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from tallystick.base.errors import Unavailable
from tallystick.reservations.batch import Batch, Entry, Extra, Operation, StepName
from tallystick.reservations.hold import OutcomeUnknown
from tallystick.reservations.lane_connection import AWAY, NOT_DONE, LaneConnection
from tallystick.reservations.queue import Queue

log = structlog.get_logger()

# Passes of the event loop between two batches. Under load each brings more callers, and PostgreSQL's cost for a request
# fell by a quarter from one pass to four; an idle lane posts at once all the same. More passes brought nothing.
_PASSES: Final = 4
_PAUSE_S: Final = 0.05
_PAUSE_AWAY_S: Final = 0.5

# Under way between two batches.
_NOTHING: Final = Batch()

_batches = Counter("tallystick_lane_batches", "Batches posted to the ledger.")
_batch_size = Histogram(
    "tallystick_lane_batch_size", "Operations in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
_resent = Counter("tallystick_lane_resent", "Batches sent again because the database went away.")
_refused = Counter("tallystick_lane_refused", "Operations refused because the database was away or too far behind.")


class Lane:
    """The connection of a lane, or of all of them where `number` is None, and what waits for it."""

    def __init__(
        self,
        number: int | None,
        lanes: int,
        dsn: str,
        *,
        batch_max: int,
        waiting_max: int,
        patience_s: float,
        on_between: Callable[[], None],
        on_away: Callable[[], None],
        on_blocked: Callable[[Batch], None] | None = None,
    ) -> None:
        """`on_between` is called before each batch and before every rest, `on_away` when the database is given up.

        `on_blocked` takes a batch over of which surely nothing was done, since somebody else holds what it needs.
        """
        self._number = number
        self._lanes = lanes
        self._dsn = dsn
        self._waiting_max = waiting_max
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._queue = Queue(batch_max)
        self._under_way = _NOTHING
        # Whether it is this lane's turn; see turns.py.
        self._writes = False
        self._idle: Future[None] | None = None
        self._on_between = on_between
        self._on_away = on_away
        self._on_blocked = on_blocked
        self._connection: LaneConnection | None = None
        self._away = False
        # Whether what is under way is not going as it should.
        self._troubled = False
        # Nothing more is taken; and what there was is written.
        self._closed = False
        self._stopping = False
        # Holds that may be there although their callers were told that nobody knows, and that do not expire.
        self._disowned: list[tuple[UUID, int]] = []
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, so that a wrong database is an error at the start, and begin to write."""
        await self._connect(self._patience_s)
        self._writer = asyncio.create_task(self._write(), name=f"lane {self._number}")
        self._writer.add_done_callback(self._writer_ended)

    @property
    def in_flight(self) -> int:
        """Operations that wait or are under way."""
        return self._queue.size + len(self._under_way.places)

    @property
    def away(self) -> bool:
        return self._away

    @property
    def well(self) -> bool:
        return not self._away and not self._troubled

    def let_write(self, *, may: bool) -> None:
        """Its turn begins, or has ended. What comes meanwhile waits."""
        self._writes = may
        self._wake()

    def close(self) -> None:
        """Take no more."""
        self._closed = True
        self._wake()

    async def stop(self) -> None:
        """Take no more, write what waits, and close the connection."""
        self._closed = self._stopping = True
        self._wake()
        if self._writer is not None:
            # One that died has been told of, and its connection is closed all the same.
            await asyncio.wait((self._writer,))
        self._disconnect()
        if self._disowned:
            # Their dispatcher's recovery finds those that were done after all; the others never were.
            log.warning("ledger_reserves_unanswered", lane=self._number, holds=[str(id_) for id_, _ in self._disowned])

    def append(self, name: StepName, entry: Entry, extra: Extra = None) -> "Future[Any]":
        """Let the operation go with the next batch; the future has its answer once that is on disk."""
        if self._away or self._closed or self._queue.size >= self._waiting_max:
            _refused.inc()
            raise Unavailable("the ledger is away or too far behind")
        future = self._loop.create_future()
        self._queue.append(name, entry, future, extra)
        if self._idle is not None and self._writes:
            self._wake()
        return future

    def take_over(self, operation: Operation) -> None:
        """Append what waited with another writer."""
        name, entry, future, extra = operation
        if self._away:
            _refuse(future)
        else:
            self._queue.append(name, entry, future, extra)
            self._wake()

    def hand_over(self) -> Iterator[Operation]:
        """All that waits, in its order, for somebody else to take over."""
        return self._queue.take_all()

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _write(self) -> None:
        while True:
            if self._away:
                await self._come_back()
            self._on_between()
            batch = self._queue.take_batch() if self._writes else None
            if batch is None:
                if self._stopping and not self._queue.size:
                    return
                self._idle = self._loop.create_future()
                await self._idle
                self._idle = None
                continue
            self._under_way = batch
            await self._post(self._under_way)
            self._under_way = _NOTHING
            # Those who were just answered may call again at once: in the next batch, not in one of their own after it.
            for _ in range(_PASSES):
                await asyncio.sleep(0)

    async def _post(self, batch: Batch) -> None:
        """Post until it is answered, for as long as callers can be expected to wait."""
        deadline = self._loop.time() + self._patience_s
        unknown = False
        while True:
            if self._on_blocked is not None and not self._writes:
                # The other half of this was handed over, and the turn with it.
                self._on_blocked(batch)
                return
            left_s = max(deadline - self._loop.time(), _PAUSE_S)
            try:
                connection = self._connection or await self._connect(left_s)
                row = await connection.post(batch, left_s)
            except ValueError as error:
                # The driver cannot encode it: nothing was sent.
                await self._isolate(batch, error)
                return
            except AWAY as error:
                self._troubled = True
                unknown = unknown or not isinstance(error, NOT_DONE)
                if isinstance(error, asyncpg.LockNotAvailableError) and self._on_blocked is not None and not unknown:
                    self._troubled = False
                    self._on_blocked(batch)
                    return
                log.warning("ledger_away", lane=self._number, error=repr(error), outcome_unknown=unknown)
                self._disconnect()
                if self._loop.time() >= deadline:
                    self._give_up(batch, unknown=unknown)
                    return
                _resent.inc()
                await asyncio.sleep(_PAUSE_S)
            except asyncpg.PostgresError as error:
                await self._isolate(batch, error)
                return
            else:
                self._troubled = False
                _batches.inc()
                _batch_size.observe(len(batch.places))
                batch.answer(row)
                return

    async def _isolate(self, batch: Batch, error: Exception) -> None:
        """The database refuses the batch for what is in it: halve it until only the culprit fails."""
        if len(batch.places) == 1:
            log.error("ledger_operation_refused", lane=self._number, error=repr(error))
            batch.fail(lambda: error)
            return
        for half in batch.halves():
            if half.places and not self._away:
                await self._post(half)
            else:
                half.fail(_unavailable)

    def _give_up(self, batch: Batch, *, unknown: bool) -> None:
        """Answer everyone who waits; from now on refuse at once, until the database is back."""
        self._away = True
        self._troubled = False
        if unknown:
            self._disowned.extend(batch.dispatched())
        batch.fail(_outcome_unknown if unknown else _unavailable)
        for _, _, future, _ in self.hand_over():
            _refuse(future)
        self._on_away()

    async def _come_back(self) -> None:
        """Wait for the database. Then release, before anything else, the reserves that nobody believes in."""
        while self._away and not self._closed:
            try:
                await self._connect(self._patience_s)
            except Unavailable:
                await asyncio.sleep(_PAUSE_AWAY_S)
                continue
            self._under_way = batch = Batch()
            self._away, self._troubled = False, True
            for hold, account in dict(self._disowned).items():
                nobody = self._loop.create_future()
                nobody.add_done_callback(Future.exception)
                batch.add(batch.end, (hold, account, None, ()), nobody)
            if batch.places:
                await self._post(batch)
            self._troubled = False
            if not self._away:
                self._disowned.clear()
                log.info("ledger_back", lane=self._number, released=len(batch.places))
            self._under_way = _NOTHING

    async def _connect(self, timeout_s: float) -> LaneConnection:
        self._connection = await LaneConnection.open(self._dsn, self._number, self._lanes, timeout_s)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _writer_ended(self, writer: "asyncio.Task[None]") -> None:
        """A writer that ends by anything but stop() is a defect; its callers must not wait for ever."""
        if not self._stopping or writer.cancelled() or writer.exception() is not None:
            log.critical("ledger_lane_ended", lane=self._number, error=repr(writer))
            lost, self._under_way = self._under_way, _NOTHING
            self._give_up(lost, unknown=True)


def _refuse(future: "Future[Any]") -> None:
    if not future.done():
        future.set_exception(_unavailable())


def _unavailable() -> Unavailable:
    return Unavailable("the ledger is away")


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown("the ledger went away before it answered; the operation may have been done")
