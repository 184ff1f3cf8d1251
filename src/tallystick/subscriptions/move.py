"""Move subscribers of an old version of a plan to the version that is sold now. Nobody is moved unless asked for."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, NotFound
from tallystick.catalog.read import plan_version
from tallystick.subscriptions.offer import read_offer, refuse_billed_by_stripe
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscription import Subscription
from tallystick.subscriptions.turn import OPERATOR, take_turn, write

_BATCH: Final = 100

queries = load_queries(__file__, "move.sql")


async def move(
    connection: asyncpg.Connection,
    organization: str,
    slug: str,
    *,
    by: str = OPERATOR,
    now: datetime | None = None,
) -> Subscription:
    """Pin the newest version of the plan the subscription is on. Its limits hold at once, its price from the next
    period on. Raises NotFound, UnknownPlan, and Conflict where there is nothing to move or the interval differs."""
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        current = turn.subscription
        offer = await read_offer(connection, turn.now)
        newest = offer.book.plan(slug, turn.now)
        refuse_billed_by_stripe(newest.document)
        pinned = await plan_version(connection, current.plan_version)
        if pinned.slug != slug:
            raise Conflict(f"The organization is on {pinned.slug}, not on {slug}.")
        if newest.id == current.plan_version:
            raise Conflict("The organization is on the newest version already.")
        if newest.document.interval != pinned.interval:
            raise Conflict(f"The newest version of {slug} is paid by the {newest.document.interval}: change the plan.")
        after = msgspec.structs.replace(current, plan_version=newest.id)
        await write(connection, current, after, what="moved", by=by, effective_at=turn.now)
        await publish_constraints(connection, organization)
    return after


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    moved: int
    """How many were."""
    left: dict[str, str]
    """By organization, why it was not."""


async def move_all(
    pool: asyncpg.Pool,
    slug: str,
    *,
    by: str = OPERATOR,
    now: datetime | None = None,
    progress: Callable[[int], None] = lambda _moved: None,
) -> Moved:
    """Move every subscriber of an older version of the plan, each in a transaction of its own: who stops it half-way
    calls it again. `progress` hears how many are done. Raises UnknownPlan."""
    moved, after = 0, ""
    left: dict[str, str] = {}
    async with pool.acquire() as connection:
        offer = await read_offer(connection, now)
        newest = offer.book.plan(slug, offer.at).id
        while True:
            rows = [
                row
                async for row in queries.on_older_versions(
                    connection, slug=slug, newest=newest, after=after, row_limit=_BATCH
                )
            ]
            for row in rows:
                after = row["organization"]
                try:
                    await move(connection, after, slug, by=by, now=now)
                    moved += 1
                except (Conflict, NotFound) as error:
                    left[after] = error.message
            progress(moved)
            if len(rows) < _BATCH:
                return Moved(moved=moved, left=left)
