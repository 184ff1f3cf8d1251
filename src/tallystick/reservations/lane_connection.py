"""The connection of one lane: its prepared calls, and plans that are made anew while the tables grow."""

from typing import Final

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from tallystick.base.errors import Unavailable
from tallystick.reservations.batch import Batch

UNREACHABLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_PLAIN: Final = "accounts, posted, held, available, exceptions"
_CLAIMS: Final = f"{_PLAIN}, overages, codes, amounts, layers, availables, refused, retry_at, taken, now"
_POST: Final = f"post_batch({{}}, {', '.join(f'${n}' for n in range(2, 19))}, null, null)"
_POST_WITH_CLAIMS: Final = f"post_batch_with_claims({{}}, {', '.join(f'${n}' for n in range(2, 36))})"
# Every lane from this one on. Named by the call, so that it has them all before its statements look at anything.
_LOCKED: Final = (
    "(select min(lane) as first, count(pg_advisory_xact_lock(31249, lane))"
    " from generate_series($1::integer, $2::integer - 1) as lane) as locked"
)
# A plan made while a table was nearly empty reads all of it, from either side of a join, and would be kept. By the time
# of these batches of a connection the tables are larger by an order of magnitude, and the planner sees that.
_REPLAN_AT: Final = frozenset(4**n for n in range(1, 9))


class LaneConnection:
    """What one lane says to the database."""

    def __init__(self, connection: asyncpg.Connection, post: PreparedStatement, number: int, lanes: int) -> None:
        self._connection = connection
        # By whether there are claims, and whether all lanes go together.
        self._prepared = {(False, False): post}
        self._number = number
        self._lanes = lanes
        self._posted = 0

    @classmethod
    async def open(cls, dsn: str, number: int, lanes: int, timeout_s: float) -> "LaneConnection":
        """Raises Unavailable."""
        connection = await connect(dsn, f"tallystick lane {number}", timeout_s)
        try:
            statement = await connection.prepare(_statement(claims=False, joint=False), timeout=timeout_s)
        except UNREACHABLE as error:
            connection.terminate()
            raise Unavailable(f"the ledger cannot be used: {error}") from error
        return cls(connection, statement, number, lanes)

    async def post(self, batch: Batch, timeout_s: float) -> asyncpg.Record:
        """The batch's answers. Raises whatever asyncpg does; ValueError where it cannot be encoded."""
        self._posted += 1
        if self._posted in _REPLAN_AT:
            await self._connection.execute("discard plans", timeout=timeout_s)
        statement = self._prepared.get((batch.claims, batch.joint))
        if statement is None:
            query = _statement(claims=batch.claims, joint=batch.joint)
            statement = await self._connection.prepare(query, timeout=timeout_s)
            self._prepared[batch.claims, batch.joint] = statement
        return await statement.fetchrow(*batch.arguments(self._number, self._lanes), timeout=timeout_s)

    def terminate(self) -> None:
        """Not a polite close: the other side may be gone, and nothing is under way that anybody still wants."""
        self._connection.terminate()


def _statement(*, claims: bool, joint: bool) -> str:
    columns, call = (_CLAIMS, _POST_WITH_CLAIMS) if claims else (_PLAIN, _POST)
    if joint:
        return f"select {columns} from {_LOCKED} cross join lateral {call.format('locked.first')}"
    return f"select {columns} from {call.format('$1')}"


async def connect(dsn: str, application: str, timeout_s: float) -> asyncpg.Connection:
    """A connection whose commits are on disk when they are acknowledged. Raises Unavailable."""
    try:
        settings = {
            "application_name": application,
            # Whatever the server's default is; in batches it costs next to nothing.
            "synchronous_commit": "on",
            # One plan for every batch, the calls themselves included.
            "plan_cache_mode": "force_generic_plan",
        }
        return await asyncpg.connect(dsn, timeout=timeout_s, server_settings=settings)
    except UNREACHABLE as error:
        raise Unavailable(f"the ledger's database cannot be reached: {error}") from error
