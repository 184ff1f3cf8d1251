"""No statement of a batch with claims reads more of a table than it is about, whatever the planner believes of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from tallystick.base.ids import new_id
from tallystick.reservations.batch import Batch
from tallystick.reservations.claim import Claim, FeatureClaim
from tallystick.reservations.lane_connection import LaneConnection
from tests.ledger.money import customer

SIZE = 8
ROWS_MAX = 2000
HOT = ("hold", "ledger_account", "meter_counter", "feature_counter", "feature_use")
NOW = datetime.now(UTC)
CLAIMS = (
    FeatureClaim(feature="site_scans", units=1, limit=10**6),
    Claim(
        meter="input_tokens", units=5, allowance=3, price=2, starts_at=NOW - timedelta(1), ends_at=NOW + timedelta(1)
    ),
)


async def post(lane: LaneConnection, name: str, holds: list[UUID], account: int) -> None:
    batch, loop = Batch(), asyncio.get_running_loop()
    for hold in holds:
        if name == "admit":
            batch.add(batch.admit, (hold, account, 1, 600, None, False), loop.create_future(), CLAIMS)
        else:
            batch.add(batch.end, (hold, account, 1 if name == "settle" else None, ()), loop.create_future())
    batch.answer(await lane.post(batch, 60))
    for future in batch.futures:
        future.result()


async def rows_read(connection: asyncpg.Connection) -> dict[str, int]:
    """Of each hot table, by whatever way, until now."""
    rows = await connection.fetch(
        "select relname, seq_tup_read + coalesce((select sum(idx_tup_read) from pg_stat_user_indexes as one"
        " where one.relid = of_table.relid), 0)::bigint as read from pg_stat_user_tables as of_table"
        " where relname = any($1)",
        HOT,
    )
    return {row["relname"]: row["read"] for row in rows}


async def test_a_batch_reads_what_it_is_about(connection: asyncpg.Connection, dsn: str) -> None:
    account = await customer(connection, 10**9)
    while account % 2:
        account = await customer(connection, 10**9)
    # The planner is told that everything is empty.
    await connection.execute("vacuum analyze")
    lane = await LaneConnection.open(dsn, 0, 2, 5)
    await rounds(lane, account)
    await fill(connection, account)
    await told(lane)
    await connection.execute("select pg_stat_force_next_flush()")
    before = await rows_read(connection)
    await rounds(lane, account)
    await told(lane)
    after = await rows_read(connection)
    lane.terminate()
    read = {table: after[table] - before[table] for table in HOT}
    assert all(0 < rows < ROWS_MAX for rows in read.values()), read


async def rounds(lane: LaneConnection, account: int) -> None:
    for end in ("settle", "release"):
        holds = [new_id() for _ in range(SIZE)]
        await post(lane, "admit", holds, account)
        await post(lane, end, holds, account)


async def told(lane: LaneConnection) -> None:
    """The server counts what a session has read when it is idle, or asked to."""
    await lane._connection.execute("select pg_stat_force_next_flush()")


async def fill(connection: asyncpg.Connection, account: int) -> None:
    """What years leave behind, of which the planner is told nothing."""
    await connection.execute(
        "insert into feature_use (account, feature, at, units, cumulative, hold)"
        " select $1, 'site_scans', now() - (50001 - n) * interval '1 min', 1, n, gen_random_uuid()"
        " from generate_series(1, 50000) as n",
        account,
    )
    # After them the few that were there before.
    await connection.execute(
        "update feature_use set cumulative = cumulative + 50000 where at > now() - interval '50 s'"
    )
    await connection.execute("update feature_counter set total = total + 50000 where account = $1", account)
    await connection.execute(
        "insert into hold (id, account, amount, actual, state, created_at, expires_at)"
        " select gen_random_uuid(), n, 5, 0, 'settled', now(), now() from generate_series(1, 50000) as n"
    )
    await connection.execute(
        "insert into meter_counter (account, meter, starts_at, ends_at)"
        " select n, 'requests', now(), now() from generate_series(1, 50000) as n"
    )
