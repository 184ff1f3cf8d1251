"""The connection of one lane: its prepared call, and plans that are made anew while the tables grow."""

import asyncio
from typing import Final

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from tallystick.base.errors import Unavailable
from tallystick.reservations.batch import Batch

UNREACHABLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# The server itself said that nothing was done. A unique violation is the same id at the same moment in another lane:
# asked again, the register of holds has the answer.
NOT_DONE: Final = (
    Unavailable,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
)
AWAY: Final = (
    *NOT_DONE,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_POST: Final = (
    "select accounts, posted, held, available, exceptions, overages,"
    " codes, amounts, layers, availables, refused, retry_at, taken, now"
    " from post_batch($1, $2, $3, $4, $5, $6, $7, $8, $9)"
)
# A writer for all lanes does not wait longer than this for one of them, or for a row: each for itself, they can.
_LOCK_TIMEOUT_MS: Final = 250
# Whatever is between may have dropped a connection that was not used for so long, and told nobody.
_IDLE_S: Final = 5.0
_ANSWER_S: Final = 1.0
# A plan made while a table was nearly empty reads all of it, from either side of a join, and would be kept. By the time
# of these batches of a connection the tables are larger by an order of magnitude, and the planner sees that.
_REPLAN_AT: Final = frozenset(4**n for n in range(1, 9))


class LaneConnection:
    """What one lane says to the database."""

    def __init__(self, connection: asyncpg.Connection, post: PreparedStatement, number: int | None, lanes: int) -> None:
        self._connection = connection
        self._post = post
        self._number = number
        self._lanes = lanes
        self._posted = 0
        self._used_at = asyncio.get_running_loop().time()

    @classmethod
    async def open(cls, dsn: str, number: int | None, lanes: int, timeout_s: float) -> "LaneConnection":
        """Raises Unavailable."""
        connection = await connect(dsn, f"tallystick lane {'all' if number is None else number}", timeout_s)
        try:
            if number is None and lanes > 1:
                await connection.execute(f"set lock_timeout = {_LOCK_TIMEOUT_MS}", timeout=timeout_s)
            statement = await connection.prepare(_POST, timeout=timeout_s)
        except UNREACHABLE as error:
            connection.terminate()
            raise Unavailable(f"the ledger cannot be used: {error}") from error
        return cls(connection, statement, number, lanes)

    async def post(self, batch: Batch, timeout_s: float) -> asyncpg.Record:
        """The batch's answers. Raises whatever asyncpg does; ValueError where it cannot be encoded, and Unavailable
        where nothing was sent, since the connection is not what it was."""
        if asyncio.get_running_loop().time() - self._used_at > _IDLE_S:
            try:
                await self._connection.execute("select 1", timeout=min(_ANSWER_S, timeout_s))
            except UNREACHABLE as error:
                raise Unavailable(f"the connection was lost while nobody used it: {error!r}") from error
        self._used_at = asyncio.get_running_loop().time()
        self._posted += 1
        if self._posted in _REPLAN_AT:
            await self._connection.execute("discard plans", timeout=timeout_s)
        return await self._post.fetchrow(*batch.arguments(self._number, self._lanes), timeout=timeout_s)

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
