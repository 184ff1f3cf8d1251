"""A live database of the first revision becomes one with plans under a worker of the old version, which goes on."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import astuple, replace

from tallystick.base.ids import new_id
from tallystick.base.migrate import migrate
from tallystick.base.revision import upgrade
from tallystick.catalog.publish import apply
from tallystick.ledger import audit
from tallystick.ledger.account import open_account
from tallystick.ledger.lot import lots
from tallystick.ledger.seal import seal
from tallystick.payments.orders.grant import grant
from tallystick.reservations.claim import Claim, FeatureClaim
from tallystick.reservations.lane_connection import LaneConnection
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.usage_record import UsageRecord
from tests.ledger.money import broken_laws, customer, give
from tests.migrations.columns import POST_BATCH, OldLaneConnection
from tests.reservations.test_verify import priced

CATALOG = Path(__file__).parents[1] / "catalog" / "small.toml"
# What the first version sends again: the server itself said that nothing was done.
NOT_DONE = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)


class OldWorker:
    """One lane of a process of the first version: it prepared its one statement before anything changed."""

    def __init__(self, connection: asyncpg.Connection, account: int, used: UsageRecord) -> None:
        self.connection, self.account, self.used = connection, account, used
        self.lane = account % 2
        self.settled: dict[UUID, int] = {}
        self.stopping = False

    async def run(self) -> None:
        statement = await self.connection.prepare(POST_BATCH)
        while not self.stopping:
            hold = new_id()
            await self.post(statement, reserves=[hold])
            used = replace(self.used, id=hold)
            await self.post(statement, ends=[used])
            self.settled[hold] = used.charge

    async def post(
        self,
        statement: asyncpg.prepared_stmt.PreparedStatement,
        reserves: list[UUID] | None = None,
        ends: list[UsageRecord] | None = None,
    ) -> None:
        reserves, ends = reserves or [], ends or []
        arguments = (
            *(self.lane, 2, [one.id for one in ends], [one.account for one in ends], [one.charge for one in ends]),
            *([astuple(one) for one in ends], [], [], [], []),
            *(reserves, [self.account] * len(reserves), [10] * len(reserves), [600] * len(reserves)),
            *([None] * len(reserves), [], [], []),
        )
        while True:
            try:
                row = await statement.fetchrow(*arguments, timeout=30)
            except NOT_DONE:
                continue
            assert row["exceptions"] is None
            return


@pytest.fixture
async def old_dsn(empty_dsn: str) -> str:
    """A database of the first revision."""
    await upgrade(empty_dsn, "0001")
    return empty_dsn


# A block as the first version seals it: transfers alone.
SEAL = """
    insert into ledger_block (number, after_seq, to_seq, transfers, previous, hash)
    select 1, 0, to_seq, transfers, sha256('tallystick'), sha256(sha256('tallystick') || lines)
    from ledger_lines(0, 10000)
"""


async def old_life(pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes) -> dict[int, list[UUID]]:
    """Credits of every kind, holds in every state; returns the open holds by account."""
    await apply(connection, CATALOG.read_text(), now=datetime.now(UTC), dry_run=False)
    later = datetime.now(UTC) + timedelta(days=5)
    still_open: dict[int, list[UUID]] = {}
    for number in range(6):
        account = await open_account(connection, floor=-100 * number, overdraft=10 * number)
        if number % 2:
            await grant(pool, account, 300, operation=new_id(), source="autumn", expires_at=later)
        if number % 3:
            await give(connection, account, 500)
        await grant(pool, account, 200, operation=new_id(), source="spring", priority=number)
        holds = [new_id() for _ in range(8)]
        for hold in holds:
            await lanes.reserve(hold, account, 20, expires_in_s=3600)
        used = replace(await priced(connection, account, "upstream_error"), id=holds[0])
        await lanes.release(holds[0], account, used)
        await lanes.settle(holds[1], account, 60 + 90 * number)
        await lanes.release(holds[2], account)
        await lanes.deduct(new_id(), account, 3)
        await lanes.extend(holds[3], account, 30, expires_in_s=7200)
        if number == 4:
            await lots(connection, account)
        still_open[account] = holds[3:]
    await connection.execute(SEAL)
    return still_open


async def nothing(*_: object, **__: object) -> None:
    """Kept nowhere."""


async def old_writer(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Lanes:
    """One that calls what the first version does; without claims it does all else in the same way."""
    lanes = Lanes(dsn)
    with monkeypatch.context() as patch:
        patch.setattr(LaneConnection, "open", OldLaneConnection.open)
        await lanes.start()
    return lanes


async def test_a_worker_of_the_old_version_goes_on_while_the_new_one_migrates(
    old_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncpg.create_pool(old_dsn, min_size=1, max_size=4) as pool, pool.acquire() as connection:
        old_lanes = await old_writer(old_dsn, monkeypatch)
        with monkeypatch.context() as patch:
            # The first version keeps no audit log.
            patch.setattr(audit, "record", nothing)
            still_open = await old_life(pool, connection, old_lanes)
        accounts = [await customer(connection, 10**15) for _ in range(4)]
        opened = [await asyncpg.connect(old_dsn) for _ in accounts]
        workers = [
            OldWorker(one, account, await priced(connection, account))
            for one, account in zip(opened, accounts, strict=True)
        ]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        before = await reach(workers, running, 20)
        # Two processes of the new version start at once.
        await asyncio.gather(migrate(old_dsn), migrate(old_dsn))
        await reach(workers, running, before + 40)

        new_lanes = Lanes(old_dsn)
        await new_lanes.start()
        for account in accounts:
            await uses_claims(connection, new_lanes, account)
        for account, holds in still_open.items():
            # Each version ends what the first one began.
            await old_lanes.release(holds[0], account)
            await new_lanes.settle(holds[1], account, 15)
            await new_lanes.settle_claims(holds[2], account, 15, ())
            await old_lanes.settle(holds[3], account, 21)
        for worker in workers:
            worker.stopping = True
        await asyncio.gather(*running)
        for lanes in (old_lanes, new_lanes):
            await lanes.stop()
        for one in opened:
            await one.close()

        settled = {hold: charge for worker in workers for hold, charge in worker.settled.items()}
        rows = await connection.fetch(
            "select id, charge, overage, layer from usage_record where account = any($1)", accounts
        )
        assert {row["id"]: (row["charge"], row["overage"], row["layer"]) for row in rows} == {
            hold: (charge, 0, None) for hold, charge in settled.items()
        }
        wrong = (
            "select id, backing, lots_backing(id) from ledger_account where backing is distinct from lots_backing(id)"
        )
        assert await connection.fetch(wrong) == []
        assert await connection.fetchval("select count(*) from ledger_account where backing > 0") >= 2
        assert await broken_laws(connection) == {}
        await seal(pool)


async def reach(workers: list[OldWorker], running: list["asyncio.Task[None]"], many: int) -> int:
    """Wait until every worker has settled so many."""
    while min(len(worker.settled) for worker in workers) < many:
        for task in running:
            if task.done():
                task.result()
        await asyncio.sleep(0.01)
    return max(len(worker.settled) for worker in workers)


async def uses_claims(connection: asyncpg.Connection, lanes: Lanes, account: int) -> None:
    starts_at = datetime.now(UTC) - timedelta(days=1)
    hold = new_id()
    claims = (
        FeatureClaim(feature="site_scans", units=1, limit=2),
        Claim(meter="requests", units=3, starts_at=starts_at, ends_at=starts_at + timedelta(days=30), price=2),
    )
    assert (await lanes.admit(hold, account, 5, claims, expires_in_s=60)).amount == 11
    assert (await lanes.settle_claims(hold, account, 4, (1, 2))).charge == 8


async def test_a_database_that_is_new_gets_every_revision(old_dsn: str) -> None:
    await migrate(old_dsn)
    connection = await asyncpg.connect(old_dsn)
    assert await connection.fetchval("select version_num from alembic_version") >= "0002"
    await connection.close()
