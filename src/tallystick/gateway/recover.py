"""After the death of a gateway process: end every hold it left open, once, from what its journal says."""

import asyncio
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

import asyncpg
import structlog

from tallystick.base.database import AWAY, load_queries
from tallystick.base.errors import Conflict, NotFound, TallystickError, Unavailable
from tallystick.base.ids import first_id_at
from tallystick.catalog.document import CostProfile, Price, reprice
from tallystick.catalog.read import version
from tallystick.gateway.journal import Dispatched, Found, Settlement, abandoned
from tallystick.gateway.outcome import DEFAULT, Basis, Outcome, Policy
from tallystick.gateway.settle import Ending, end
from tallystick.gateway.terms import COVERED, units_used
from tallystick.ledger.account import lock_all_lanes
from tallystick.reservations.hold import OpenHold
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.usage_record import UsageRecord

queries = load_queries(__file__, "recover.sql")
log = structlog.get_logger()

_AWAY: Final = (Unavailable, *AWAY)


class Recovery:
    """Looks for journals that no process holds any more: at the start, and again every `interval_s`, since a worker
    can die while the others live on. Two who look at once are kept apart by the lock on each journal."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        lanes: Lanes,
        folder: Path,
        *,
        policy: Policy = DEFAULT,
        interval_s: float = 5.0,
    ) -> None:
        self._pool = pool
        self._lanes = lanes
        self._folder = folder
        self._policy = policy
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
        except (TallystickError, TypeError):
            # One journal that cannot be understood must not keep the others' customers from being served; it stays.
            log.exception("recovery_failed")

    async def _end_all(self, found: Found) -> int:
        """First what was sent on, by the journal; then what is open all the same, which never left."""
        ended = 0
        for call in found.open.values():
            ending = Ending(call.record, call.units) if isinstance(call, Settlement) else await self._priced(call)
            try:
                await end(self._lanes, ending.record, ending.units)
            except (Conflict, NotFound):
                continue  # it had ended; only the line that says so was lost
            ended += 1
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                # A batch the dead process had under way may still run in the database: wait until it is done.
                await lock_all_lanes(connection)
            # Found by the time in their ids, which the clock of this host has made, as it has made `clean_since`.
            rows = queries.open_holds(connection, dispatcher=found.dispatcher, from_id=first_id_at(found.clean_since))
            unsent = [row async for row in rows]
        for hold in unsent:
            await self._lanes.release(hold["id"], hold["account"])
        log.warning("recovered", dispatcher=str(found.dispatcher), ended=ended, never_sent=len(unsent))
        return ended + len(unsent)

    async def _priced(self, call: Dispatched) -> Ending:
        """A call as it stood, at the prices it was sent at: the catalog keeps every version."""
        async with self._pool.acquire() as connection:
            cost_profile = (await version(connection, call.cost_id)).document
            price = (await version(connection, call.price_id)).document
        if not isinstance(cost_profile, CostProfile) or not isinstance(price, Price):
            raise TypeError(f"call {call.hold} names catalog versions that are no cost profile and price")
        cost, worth = reprice(cost_profile, price, call.usage)
        charged = self._policy[Outcome.RECOVERED].basis is Basis.USAGE
        record = UsageRecord(
            id=call.hold,
            account=call.account,
            api_key=call.api_key,
            endpoint=call.endpoint,
            alias=call.alias,
            provider=call.provider,
            model=call.model,
            stream=call.stream,
            input_tokens=call.usage.input_tokens,
            cached_tokens=call.usage.cached_tokens,
            cache_write_tokens=call.usage.cache_write_tokens,
            output_tokens=call.usage.output_tokens,
            reasoning_tokens=call.usage.reasoning_tokens,
            input_audio_tokens=call.usage.input_audio_tokens,
            output_audio_tokens=call.usage.output_audio_tokens,
            images=call.usage.images,
            usage_source="estimated",
            cost_id=call.cost_id,
            price_id=call.price_id,
            cost=cost,
            charge=worth if charged and not call.covered else 0,
            reserved=call.reserved,
            outcome=Outcome.RECOVERED.value,
            rule=f"{Outcome.RECOVERED.value}+{COVERED}" if call.covered else Outcome.RECOVERED.value,
            status=0,
            attempts=1,
            latency_ms=0,
        )
        return Ending(record, units_used(call.meters, call.usage, worth) if charged and call.meters else None)


async def settle_orphans(lanes: Lanes, orphans: Iterable[OpenHold]) -> int:
    """Holds that were sent on by a process whose journal is lost with its host: nothing better is known than what
    they set aside, so that is charged. `reservations.sweep` finds them, a day after."""
    settled = 0
    for hold in orphans:
        try:
            await lanes.settle(hold.id, hold.account, hold.amount)
        except (Conflict, NotFound):
            continue  # it ended in the meantime
        log.warning("orphan_settled_at_its_hold", hold=str(hold.id), charge_nano=hold.amount)
        settled += 1
    return settled
