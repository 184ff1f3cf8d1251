"""The writer of one lane: collects operations while its connection is busy, then posts them in one call.

Never a timer: when the connection is free, what there is goes at once; under load batches fill by themselves.
"""

import asyncio
from asyncio import Future
from collections import deque
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from tallystick.base.errors import Unavailable
from tallystick.reservations.admit_step import Wanted
from tallystick.reservations.batch import Batch
from tallystick.reservations.hold import OutcomeUnknown
from tallystick.reservations.lane_connection import LaneConnection
from tallystick.reservations.usage_record import UsageRecord

log = structlog.get_logger()

# Passes of the event loop between two batches. Under load each brings more callers, and PostgreSQL's cost for a request
# fell by a quarter from one pass to four; an idle lane posts at once all the same. More passes brought nothing.
_PASSES: Final = 4
_PAUSE_S: Final = 0.05
_PAUSE_AWAY_S: Final = 0.5

# The server itself said that nothing was done. A unique violation is the same id at the same moment in another lane:
# asked again, the register of holds has the answer.
_NOT_DONE: Final = (
    Unavailable,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
)
_AWAY: Final = (
    *_NOT_DONE,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

StepName = Literal["end", "extend", "reserve", "deduct", "admit"]

_batches = Counter("tallystick_lane_batches", "Batches posted to the ledger.")
_batch_size = Histogram(
    "tallystick_lane_batch_size", "Operations in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
_resent = Counter("tallystick_lane_resent", "Batches sent again because the database went away.")
_refused = Counter("tallystick_lane_refused", "Operations refused because the database was away or too far behind.")


class Lane:
    """One lane's connection, and what waits for it."""

    def __init__(
        self, number: int, lanes: int, dsn: str, *, batch_max: int, waiting_max: int, patience_s: float
    ) -> None:
        self._number = number
        self._lanes = lanes
        self._dsn = dsn
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._open = Batch()
        self._full: deque[Batch] = deque()
        # Operations in these; not those under way.
        self._waiting = 0
        self._under_way = Batch()
        self._idle: Future[None] | None = None
        self._connection: LaneConnection | None = None
        self._away = False
        self._stopping = False
        # Holds that may be there although their callers were told that nobody knows, and that do not expire.
        self._disowned: list[tuple[UUID, int]] = []
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, so that a wrong database is an error at the start, and begin to write."""
        await self._connect(self._patience_s)
        self._writer = asyncio.create_task(self._write(), name=f"lane {self._number}")
        self._writer.add_done_callback(self._writer_ended)

    async def stop(self) -> None:
        """Take no more, write what waits, and close."""
        self._stopping = True
        self._wake()
        if self._writer is not None:
            await self._writer
        self._disconnect()
        if self._disowned:
            # Their dispatcher's recovery finds those that were done after all; the others never were.
            log.warning("ledger_reserves_unanswered", lane=self._number, holds=[str(id_) for id_, _ in self._disowned])

    def append(
        self,
        name: StepName,
        hold: UUID,
        account: int,
        amount: int | None,
        life_s: int = 0,
        extra: UUID | UsageRecord | Wanted | None = None,
        units: tuple[int, ...] | None = None,
    ) -> "Future[Any]":
        """Let the operation go with the next batch; the future has its answer once that is on disk."""
        if self._away or self._stopping or self._waiting >= self._waiting_max:
            _refused.inc()
            raise Unavailable("the ledger is away or too far behind")
        future = self._loop.create_future()
        batch = self._open
        if hold.int in batch.places:
            if batch.join(getattr(batch, name), hold, account, amount, future, extra, units):
                return future
            # An id stands in a batch once: the other operation with it must see what this one left.
            batch = self._close_batch()
        elif len(batch.places) >= self._batch_max:
            batch = self._close_batch()
        batch.add(getattr(batch, name), hold, account, amount, future, life_s, extra, units)
        self._waiting += 1
        if self._idle is not None:
            self._wake()
        return future

    def _close_batch(self) -> Batch:
        self._full.append(self._open)
        self._open = Batch()
        return self._open

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _write(self) -> None:
        while True:
            if self._away:
                await self._come_back()
            if self._full:
                self._under_way = self._full.popleft()
            elif self._open.places:
                self._under_way, self._open = self._open, Batch()
            elif self._stopping:
                return
            else:
                self._idle = self._loop.create_future()
                await self._idle
                self._idle = None
                continue
            self._waiting -= len(self._under_way.places)
            await self._post(self._under_way)
            # Those who were just answered may call again at once: in the next batch, not in one of their own after it.
            for _ in range(_PASSES):
                await asyncio.sleep(0)

    async def _post(self, batch: Batch) -> None:
        """Post until it is answered, for as long as callers can be expected to wait."""
        deadline = self._loop.time() + self._patience_s
        unknown = False
        while True:
            left_s = max(deadline - self._loop.time(), _PAUSE_S)
            try:
                connection = self._connection or await self._connect(left_s)
                row = await connection.post(batch, left_s)
            except ValueError as error:
                # The driver cannot encode it: nothing was sent.
                await self._isolate(batch, error)
                return
            except _AWAY as error:
                unknown = unknown or not isinstance(error, _NOT_DONE)
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
        if unknown:
            self._disowned.extend(batch.dispatched())
        batch.fail(_outcome_unknown if unknown else _unavailable)
        for waiting in (*self._full, self._open):
            waiting.fail(_unavailable)
        self._full.clear()
        self._open = Batch()
        self._waiting = 0

    async def _come_back(self) -> None:
        """Wait for the database. Then release, before anything else, the reserves that nobody believes in."""
        while self._away and not self._stopping:
            try:
                await self._connect(self._patience_s)
            except Unavailable:
                await asyncio.sleep(_PAUSE_AWAY_S)
                continue
            self._away = False
            batch = Batch()
            for hold, account in dict(self._disowned).items():
                nobody = self._loop.create_future()
                nobody.add_done_callback(Future.exception)
                batch.add(batch.end, hold, account, None, nobody, units=())
            if batch.places:
                await self._post(batch)
            if not self._away:
                self._disowned.clear()
                log.info("ledger_back", lane=self._number, released=len(batch.places))

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
            self._give_up(self._under_way, unknown=True)


def _unavailable() -> Unavailable:
    return Unavailable("the ledger is away")


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown("the ledger went away before it answered; the operation may have been done")
