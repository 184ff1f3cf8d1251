"""After the death of a gateway process: end every hold it left open, once, from what its journal says."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Final

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, NotFound, Unavailable
from tallystick.base.ids import first_id_at
from tallystick.gateway.journal import Found, abandoned
from tallystick.gateway.settle import end
from tallystick.reservations.lanes import Lanes

queries = load_queries(__file__, "recover.sql")
log = structlog.get_logger()

_AWAY: Final = (Unavailable, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Recovery:
    """Looks for journals that no process holds any more: at the start, and again every `interval_s`, since a worker
    can die while the others live on. Two who look at once are kept apart by the lock on each journal."""

    def __init__(self, pool: asyncpg.Pool, lanes: Lanes, folder: Path, *, interval_s: float = 5.0) -> None:
        self._pool = pool
        self._lanes = lanes
        self._folder = folder
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._try()
        self._task = asyncio.create_task(self._repeat(), name="tallystick-recover")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def run(self) -> int:
        """How many holds were ended. Raises when the database is away: the journal in question stays as it is."""
        ended = 0
        with closing(abandoned(self._folder)) as journals:
            for found in journals:
                ended += await self._end_all(found)
        return ended

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.run()
        except _AWAY as error:
            log.warning("recovery_put_off", error=repr(error))

    async def _end_all(self, found: Found) -> int:
        """First what was sent on, by the journal; then what is open all the same, which never left."""
        ended = 0
        for record in found.open.values():
            try:
                await end(self._lanes, record)
            except (Conflict, NotFound):
                continue  # it had ended; only the line that says so was lost
            ended += 1
        async with self._pool.acquire() as connection:
            await queries.wait_for_writers(connection)
            unsent = await queries.open_holds(
                connection, dispatcher=found.dispatcher, from_id=first_id_at(found.clean_since)
            )
        for hold in unsent:
            await self._lanes.release(hold["id"], hold["account"])
        log.warning("recovered", dispatcher=str(found.dispatcher), ended=ended, never_sent=len(unsent))
        return ended + len(unsent)
