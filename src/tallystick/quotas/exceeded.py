"""Tell an organization that a limit of its plan is used up: once for each limit and window, beside the refusal itself.

Nobody who is refused waits for it. What was told is remembered here, and in the notice's key for all processes.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import structlog

from tallystick.base.database import AWAY
from tallystick.base.errors import QuotaExceeded
from tallystick.base.money import to_decimal
from tallystick.catalog.plan import DOLLARS
from tallystick.constraints.constraints import Constraints
from tallystick.constraints.period import period_at
from tallystick.constraints.verdict import WINDOW
from tallystick.notices.emit import emit

log = structlog.get_logger()

_FEATURE: Final = "quota"
_LAYERS: Final = frozenset({_FEATURE, "included", "overage"})
_KEYS_MAX: Final = 100_000


class Exceeded:
    """One for a process. `stop` before the pool closes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._told: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, constraints: Constraints, refusal: QuotaExceeded, now: datetime) -> None:
        """Does nothing where the organization was told of this limit in this window."""
        if refusal.layer not in _LAYERS:
            return
        told = constraints.organization, _key(constraints, refusal, now)
        if told in self._told:
            return
        if len(self._told) >= _KEYS_MAX:
            # What is told again finds its key in the database.
            self._told.clear()
        self._told.add(told)
        task = asyncio.create_task(self._emit(*told, refusal))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Wait for what is being told."""
        await asyncio.gather(*self._tasks)

    async def _emit(self, organization: str, key: str, refusal: QuotaExceeded) -> None:
        limit, used = refusal.limit, refusal.used
        in_dollars = refusal.name == DOLLARS and refusal.layer != _FEATURE
        data = {
            "organization": organization,
            "limit_source": refusal.layer,
            "name": refusal.name,
            "limit": to_decimal(limit) if in_dollars else limit,
            "used": to_decimal(used) if in_dollars else used,
            "retry_at": refusal.retry_at,
        }
        try:
            await emit(self._pool, organization, "quota.exceeded", data, key=key)
        except AWAY as error:
            # The next refusal tells it.
            self._told.discard((organization, key))
            log.warning("quota_exceeded_not_told", organization=organization, name=refusal.name, error=repr(error))


def _key(constraints: Constraints, refusal: QuotaExceeded, now: datetime) -> str:
    """A meter's window is its billing period. A feature's moves on with every moment, so that a fixed one of the same
    length stands for it: who is at the limit all the time hears of it once a month."""
    if refusal.layer == _FEATURE:
        window = f"window {int(now.timestamp()) // (WINDOW // timedelta(seconds=1))}"
    else:
        window = f"until {period_at(constraints.period, now).ends_at:%Y-%m-%dT%H:%M:%S}"
    # A limit that was raised and is used up again is news.
    return f"quota.exceeded {refusal.layer} {refusal.name} {refusal.limit} {window}"
