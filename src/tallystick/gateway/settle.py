"""End holds: in the ledger, or, while the database is away, in the journal until the ledger has them."""

import asyncio
import contextlib
from collections import deque
from uuid import UUID

import structlog
from msgspec import Struct
from prometheus_client import Gauge

from tallystick.base.errors import NotFound, Unavailable
from tallystick.gateway.journal import Journal
from tallystick.ledger.account import Balance
from tallystick.reservations.claim import Settled
from tallystick.reservations.hold import HoldConflict, HoldEnded
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.usage_record import UsageRecord

log = structlog.get_logger()
_behind = Gauge(
    "tallystick_settlements_behind", "Calls that ended and that the ledger does not know of yet.",
    multiprocess_mode="livesum",
)  # fmt: skip


class Ending(Struct, frozen=True, gc=False):
    """How a call ends: its record, and what it used of each claim of its hold; None where these are given back."""

    record: UsageRecord
    units: tuple[int, ...] | None = None


async def end(lanes: Lanes, record: UsageRecord, units: tuple[int, ...] | None = None) -> Balance | Settled:
    """Charge the hold of a call, or release it where there is nothing to charge; its record goes along."""
    if units is not None:
        return await lanes.settle_claims(record.id, record.account, record.charge, units, record)
    if record.charge:
        return await lanes.settle(record.id, record.account, record.charge, record)
    return await lanes.release(record.id, record.account, record)


class Settlements:
    """Nobody is told that a call is paid before either the ledger or the disk knows."""

    def __init__(self, lanes: Lanes, journal: Journal, *, retry_s: float = 0.25) -> None:
        self._lanes = lanes
        self._journal = journal
        self._retry_s = retry_s
        self._endings: deque[Ending] = deque()
        self._unsure: deque[tuple[UUID, int]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def behind(self) -> int:
        """How many ends of holds the ledger still lacks. While there are any, no new call may start."""
        return len(self._endings) + len(self._unsure)

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

    async def settle(self, record: UsageRecord, units: tuple[int, ...] | None = None) -> Balance | Settled | None:
        """The balance afterwards; None where the database did not answer and the journal took the settlement."""
        try:
            balance = await end(self._lanes, record, units)
        except Unavailable:
            await self._keep(Ending(record, units))
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

    async def _keep(self, ending: Ending) -> None:
        self._endings.append(ending)
        self._note()
        try:
            await self._journal.settlement(ending.record, ending.units)
        except Unavailable as error:
            # The memory of this process still has it, and the journal what was known when the call left.
            log.critical("settlement_not_on_disk", request_id=str(ending.record.id), error=error.message)

    async def _replay(self) -> None:
        while True:
            await self._wake.wait()
            try:
                await self._replay_once()
            except Unavailable:
                await asyncio.sleep(self._retry_s)

    async def _replay_once(self) -> None:
        while self._endings:
            record, units = self._endings[0].record, self._endings[0].units
            try:
                await end(self._lanes, record, units)
            except (HoldConflict, HoldEnded, NotFound) as error:
                log.critical("hold_ended_elsewhere", request_id=str(record.id), error=repr(error))
            self._endings.popleft()
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
