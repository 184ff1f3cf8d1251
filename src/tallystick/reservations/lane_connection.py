"""The connection of one lane: its prepared calls, and plans that are made anew while the tables grow."""

from typing import Final

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from tallystick.base.errors import Unavailable
from tallystick.reservations.batch import Batch

UNREACHABLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_POST: Final = (
    "select accounts, posted, held, available, exceptions"
    " from post_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, null, null)"
)
_POST_WITH_CLAIMS: Final = (
    "select accounts, posted, held, available, exceptions, overages,"
    " codes, amounts, layers, availables, refused, retry_at, taken, now"
    f" from post_batch_with_claims({', '.join(f'${n}' for n in range(1, 36))})"
)
# A plan made while a table was nearly empty reads all of it, from either side of a join, and would be kept. By the time
# of these batches of a connection the tables are larger by an order of magnitude, and the planner sees that.
_REPLAN_AT: Final = frozenset(4**n for n in range(1, 9))


class LaneConnection:
    """What one lane says to the database."""

    def __init__(self, connection: asyncpg.Connection, post: PreparedStatement, number: int, lanes: int) -> None:
        self._connection = connection
        self._post = post
        self._post_with_claims: PreparedStatement | None = None
        self._number = number
        self._lanes = lanes
        self._posted = 0

    @classmethod
    async def open(cls, dsn: str, number: int, lanes: int, timeout_s: float) -> "LaneConnection":
        """Raises Unavailable."""
        connection = await connect(dsn, f"tallystick lane {number}", timeout_s)
        try:
            statement = await connection.prepare(_POST, timeout=timeout_s)
        except UNREACHABLE as error:
            connection.terminate()
            raise Unavailable(f"the ledger cannot be used: {error}") from error
        return cls(connection, statement, number, lanes)

    async def post(self, batch: Batch, timeout_s: float) -> asyncpg.Record:
        """The batch's answers. Raises whatever asyncpg does; ValueError where it cannot be encoded."""
        self._posted += 1
        if self._posted in _REPLAN_AT:
            await self._connection.execute("discard plans", timeout=timeout_s)
        statement = self._post
        if batch.claims:
            if self._post_with_claims is None:
                self._post_with_claims = await self._connection.prepare(_POST_WITH_CLAIMS, timeout=timeout_s)
            statement = self._post_with_claims
        return await statement.fetchrow(*batch.arguments(self._number, self._lanes), timeout=timeout_s)

    def terminate(self) -> None:
        """Not a polite close: the other side may be gone, and nothing is under way that anybody still wants."""
        self._connection.terminate()


async def connect(dsn: str, application: str, timeout_s: float) -> asyncpg.Connection:
    """A connection whose commits are on disk when they are acknowledged. Raises Unavailable."""
    try:
        # Whatever the server's default is; in batches it costs next to nothing.
        settings = {"application_name": application, "synchronous_commit": "on"}
        return await asyncpg.connect(dsn, timeout=timeout_s, server_settings=settings)
    except UNREACHABLE as error:
        raise Unavailable(f"the ledger's database cannot be reached: {error}") from error
