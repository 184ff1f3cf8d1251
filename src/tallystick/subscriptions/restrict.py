"""Hold an organization back, whatever its plan says: to few requests a minute, or from all access."""

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.constraints.subscriber import Restriction
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.turn import record, wait_for_turn

queries = load_queries(__file__, "restrict.sql")


class _Held(msgspec.Struct, frozen=True):
    restriction: Restriction | None


async def restrict(connection: asyncpg.Connection, organization: str, wanted: Restriction | None, *, by: str) -> bool:
    """From now on `wanted` holds, or nothing does; False where that was so. Where it was not, its document is
    published: whoever posts in the same transaction has taken the turn before that, and does this last. Raises
    NotFound."""
    async with connection.transaction():
        await wait_for_turn(connection, organization)
        row = await queries.find(connection, organization=organization)
        before = None if row is None else Restriction(**row)
        if before == wanted:
            return False
        if wanted is None:
            await queries.lift(connection, organization=organization)
        else:
            await queries.put(connection, organization=organization, kind=wanted.kind, because=wanted.because)
        await record(
            connection,
            organization,
            what="restricted" if wanted is not None else "unrestricted",
            by=by,
            effective_at=await queries.moment(connection),
            before=_Held(before),
            after=_Held(wanted),
        )
        await publish_constraints(connection, organization)
    return True
