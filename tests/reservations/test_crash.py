"""PostgreSQL is killed under load, again and again: nothing acknowledged is lost, and the books are right."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.embedded_postgres import EmbeddedPostgres
from tallystick.base.errors import Unavailable
from tallystick.base.ids import new_id
from tallystick.base.migrate import migrate
from tallystick.base.postgres_binaries import Binaries
from tallystick.reservations.hold import HoldEnded
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer

KILLS = 4


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another account can pass through, as PostgreSQL must when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-crash-", dir=Path(os.environ["TALLYSTICK_TEST_DATA"]).parent))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


class Caller:
    """Calls until it is told to stop, repeating with the same id what had no answer, and remembers every answer."""

    def __init__(self, lanes: Lanes, account: int) -> None:
        self.lanes = lanes
        self.account = account
        self.settled: dict[UUID, int] = {}
        self.deducted: dict[UUID, int] = {}
        self.unanswered = 0
        self.stopping = False

    async def run(self) -> None:
        while not self.stopping:
            hold, deduction = new_id(), new_id()
            actual = len(self.settled) % 15
            try:
                await self.answered(lambda hold=hold: self.lanes.reserve(hold, self.account, 10, expires_in_s=600))
                await self.answered(lambda hold=hold, actual=actual: self.lanes.settle(hold, self.account, actual))
            except HoldEnded:
                # The reserve had no answer, and was released when the database came back.
                continue
            self.settled[hold] = actual
            await self.answered(lambda deduction=deduction: self.lanes.deduct(deduction, self.account, 3))
            self.deducted[deduction] = 3

    async def answered(self, call) -> None:
        while True:
            try:
                await call()
            except Unavailable:
                self.unanswered += 1
                await asyncio.sleep(0.05)
            else:
                return


async def test_nothing_acknowledged_is_lost(place: Path, binaries: Binaries) -> None:
    async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
        await migrate(server.dsn)
        connection = await asyncpg.connect(server.dsn)
        accounts = [await customer(connection, 10**9) for _ in range(6)]
        await connection.close()
        # One waits out the restart by itself, the other gives up at once and leaves it to its callers.
        patient, impatient = Lanes(server.dsn, patience_s=60), Lanes(server.dsn, patience_s=0.05)
        for lanes in (patient, impatient):
            await lanes.start()
        callers = [Caller(lanes, account) for lanes in (patient, impatient) for account in accounts for _ in range(5)]
        running = [asyncio.create_task(caller.run()) for caller in callers]

        for kill in range(1, KILLS + 1):
            while sum(len(caller.settled) for caller in callers) < 300 * kill:
                await asyncio.sleep(0.01)
            await server.kill()
            await server.ready()
        for caller in callers:
            caller.stopping = True
        await asyncio.gather(*running)
        for lanes in (patient, impatient):
            await lanes.stop()

        connection = await asyncpg.connect(server.dsn)
        ended = {
            row["id"]: row["actual"]
            for row in await connection.fetch("select id, actual from hold where state = 'settled'")
        }
        acknowledged = {id_: n for caller in callers for id_, n in (caller.settled | caller.deducted).items()}
        assert ended == acknowledged
        assert await connection.fetchval("select count(*) from hold where state = 'open'") == 0
        spent = await connection.fetchval("select sum(posted)::bigint from ledger_account where kind = 'revenue'")
        assert spent == sum(acknowledged.values())
        assert sum(caller.unanswered for caller in callers if caller.lanes is impatient) > 0
        assert await broken_laws(connection) == {}
        await connection.close()
