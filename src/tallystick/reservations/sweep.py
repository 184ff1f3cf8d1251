"""Find holds that nobody ended: expire those never sent on, report those that may have been.

Holds have no index on their state, which would cost every settle. So the sweeper walks them once in the order in which
they were made and remembers the few it found open: a hold made before the place it has reached is either ended or
remembered.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import structlog

from tallystick.base.database import load_queries
from tallystick.ledger.account import count_lanes, lane_of, lock_all_lanes
from tallystick.reservations.hold import OpenHold

queries = load_queries(__file__, "sweep.sql")
log = structlog.get_logger()


class Swept(msgspec.Struct, frozen=True):
    """What one round did: how many holds expired, and the dispatched ones that are overdue."""

    expired: int
    orphans: Sequence[OpenHold]


class Sweeper:
    """Keep one and call `sweep` every few seconds; any number may run at once. A new one looks at every hold once."""

    def __init__(self, pool: asyncpg.Pool, *, orphan_after_s: float = 24 * 3600, young_s: float = 30) -> None:
        self._pool = pool
        self._orphan_after = timedelta(seconds=orphan_after_s)
        # Most holds end within seconds; those are never even looked at.
        self._young = timedelta(seconds=young_s)
        self._reached: datetime | None = None
        self._open: set[UUID] = set()

    async def sweep(self) -> Swept:
        """One round. Whoever calls settles the orphans: a hold that was sent on is never released by a clock."""
        async with self._pool.acquire() as connection:
            now = await self._walk(connection)
            holds = [OpenHold(**row) async for row in queries.still_open(connection, ids=list(self._open))]
            self._open = {hold.id for hold in holds}
            due = [hold for hold in holds if hold.dispatcher is None and hold.expires_at <= now]
            expired = await _expire(connection, due)
        orphans = [
            hold
            for hold in holds
            if hold.dispatcher is not None and max(hold.created_at + self._orphan_after, hold.expires_at) <= now
        ]
        if expired or orphans:
            log.info("holds_swept", expired=expired, orphans=len(orphans))
        return Swept(expired, orphans)

    async def _walk(self, connection: asyncpg.Connection) -> datetime:
        """Remember what is open among the holds made since the last round; returns the database's time."""
        async with connection.transaction():
            # While no lane can write, every hold made until now is committed, and later ones will be younger.
            await lock_all_lanes(connection)
            now: datetime = await queries.clock(connection)
        until = now - self._young
        rows = queries.open_between(connection, after=self._reached, until=until)
        self._open.update([row["id"] async for row in rows])
        self._reached = until
        return now


async def open_dispatched(
    connection: asyncpg.Connection, dispatcher: UUID, *, created_after: datetime | None = None
) -> Sequence[OpenHold]:
    """The open holds of one dispatcher, the oldest first, for its recovery after a crash."""
    rows = queries.open_dispatched(connection, dispatcher=dispatcher, created_after=created_after)
    return [OpenHold(**row) async for row in rows]


async def _expire(connection: asyncpg.Connection, due: Sequence[OpenHold]) -> int:
    if not due:
        return 0
    lanes = await count_lanes(connection)
    by_lane: dict[int, list[UUID]] = {}
    for hold in due:
        by_lane.setdefault(lane_of(hold.account, lanes), []).append(hold.id)
    return sum([await queries.expire_holds(connection, lane=lane, ids=ids) for lane, ids in by_lane.items()])
