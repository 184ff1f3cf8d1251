"""End holds: in the ledger, or, while the database is away, in the journal until the ledger has them."""

import asyncio
import contextlib
from collections import deque
from uuid import UUID

import structlog
from prometheus_client import Gauge

from tallystick.base.errors import NotFound, Unavailable
from tallystick.gateway.journal import Journal
from tallystick.ledger.account import Balance
from tallystick.reservations.hold import HoldConflict, HoldEnded
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.usage_record import UsageRecord

log = structlog.get_logger()
_behind = Gauge(
    "tallystick_settlements_behind", "Calls that ended and that the ledger does not know of yet.",
    multiprocess_mode="livesum",
)  # fmt: skip


async def end(lanes: Lanes, record: UsageRecord) -> Balance:
    """Charge the hold of a call, or release it where there is nothing to charge; its record goes along."""
    if record.charge:
        return await lanes.settle(record.id, record.account, record.charge, record)
    return await lanes.release(record.id, record.account, record)


class Settlements:
    """Nobody is told that a call is paid before either the ledger or the disk knows."""

    def __init__(self, lanes: Lanes, journal: Journal, *, retry_s: float = 0.25) -> None:
        self._lanes = lanes
        self._journal = journal
        self._retry_s = retry_s
        self._records: deque[UsageRecord] = deque()
        self._unsure: deque[tuple[UUID, int]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def behind(self) -> int:
        """How many ends of holds the ledger still lacks. While there are any, no new call may start."""
        return len(self._records) + len(self._unsure)

    def start(self) -> None:
        self._task = asyncio.create_task(self._replay(), name="tallystick-settle")

    async def stop(self) -> bool:
        """Whether the ledger has everything; what it lacks stays in the journal."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            await self._replay_once()
        except Unavailable:
            log.warning("settlements_left_in_the_journal", calls=self.behind)
        return self.behind == 0

    async def settle(self, record: UsageRecord) -> Balance | None:
        """The balance afterwards; None where the database did not answer and the journal took the settlement."""
        try:
            balance = await end(self._lanes, record)
        except Unavailable:
            await self._keep(record)
            return None
        except (HoldConflict, HoldEnded, NotFound) as error:
            # Somebody else ended this hold, which only a recovery that took us for dead can have done.
            log.critical("hold_ended_elsewhere", request_id=str(record.id), error=repr(error))
            self._journal.ended(record.id)
            return None
        self._journal.ended(record.id)
        return balance

    def release_later(self, hold: UUID, account: int) -> None:
        """A hold that may be there and must not stay: its reserve had no answer, or we failed in the middle."""
        self._unsure.append((hold, account))
        self._note()

    async def _keep(self, record: UsageRecord) -> None:
        self._records.append(record)
        self._note()
        try:
            await self._journal.settlement(record)
        except Unavailable as error:
            # The memory of this process still has it, and the journal what was known when the call left.
            log.critical("settlement_not_on_disk", request_id=str(record.id), error=error.message)

    async def _replay(self) -> None:
        while True:
            await self._wake.wait()
            try:
                await self._replay_once()
            except Unavailable:
                await asyncio.sleep(self._retry_s)

    async def _replay_once(self) -> None:
        while self._records:
            record = self._records[0]
            try:
                await end(self._lanes, record)
            except (HoldConflict, HoldEnded, NotFound) as error:
                log.critical("hold_ended_elsewhere", request_id=str(record.id), error=repr(error))
            self._records.popleft()
            self._journal.ended(record.id)
            self._note()
        while self._unsure:
            hold, account = self._unsure[0]
            # Where it never came to be, or was ended, nothing is held either way.
            with contextlib.suppress(HoldEnded, NotFound):
                await self._lanes.release(hold, account)
            self._unsure.popleft()
            self._journal.ended(hold)
            self._note()

    def _note(self) -> None:
        _behind.set(self.behind)
        if self.behind:
            self._wake.set()
        else:
            self._wake.clear()
