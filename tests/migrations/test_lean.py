"""Batches become entries under workers that send columns, and go on: each version ends what the other has begun."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.ids import new_id
from tallystick.base.migrate import migrate
from tallystick.base.revision import upgrade
from tallystick.ledger.read import balance
from tallystick.reservations.claim import Claim, FeatureClaim
from tallystick.reservations.hold import HoldConflict
from tallystick.reservations.lane_connection import LaneConnection
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer
from tests.migrations.columns import FourthLaneConnection

NOW = datetime.now(UTC)
REQUESTS = Claim(
    meter="requests", units=1, allowance=5, price=3, starts_at=NOW - timedelta(1), ends_at=NOW + timedelta(1)
)
SCANS = FeatureClaim(feature="site_scans", units=2, limit=10**6)
CYCLES = 20


@pytest.fixture
async def old_dsn(empty_dsn: str) -> str:
    """A database of the version before this one."""
    await upgrade(empty_dsn, "0004")
    return empty_dsn


async def cycles(lanes: Lanes, account: int, done: list[int], stopping: asyncio.Event) -> None:
    """Plain ones and ones with claims, until told; each is noted in `done`."""
    while not stopping.is_set():
        plain, claimed, feature = new_id(), new_id(), new_id()
        await asyncio.gather(
            lanes.reserve(plain, account, 10, expires_in_s=60),
            lanes.admit(claimed, account, 2, (REQUESTS,), expires_in_s=60),
            lanes.admit(feature, account, 0, (SCANS,), expires_in_s=60),
        )
        await asyncio.gather(
            lanes.settle(plain, account, 7),
            lanes.settle_claims(claimed, account, 2, (1,)),
            lanes.release(feature, account),
        )
        done.append(account)


async def test_each_version_ends_what_the_other_has_begun(old_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncpg.create_pool(old_dsn, min_size=1, max_size=2) as pool, pool.acquire() as connection:
        accounts = [await customer(connection, 10**9) for _ in range(4)]
        old = Lanes(old_dsn)
        with monkeypatch.context() as patch:
            patch.setattr(LaneConnection, "open", FourthLaneConnection.open)
            await old.start()
        stopping = asyncio.Event()
        of_old: list[int] = []
        of_new: list[int] = []
        running = [asyncio.create_task(cycles(old, account, of_old, stopping)) for account in accounts]
        begun = [new_id() for _ in accounts]
        for hold, account in zip(begun, accounts, strict=True):
            await old.admit(hold, account, 2, (REQUESTS,), expires_in_s=600)
        await asyncio.gather(migrate(old_dsn), migrate(old_dsn))
        new = Lanes(old_dsn)
        await new.start()
        running += [asyncio.create_task(cycles(new, account, of_new, stopping)) for account in accounts]
        async with asyncio.timeout(60):
            while min(len(of_old), len(of_new)) < CYCLES:
                await asyncio.sleep(0.01)
        for hold, account in zip(begun, accounts, strict=True):
            await crossing(old, new, hold, account)
        stopping.set()
        await asyncio.gather(*running)
        done = len(of_old) + len(of_new)
        await old.stop()
        await new.stop()
        requests = done + 3 * len(accounts)
        used = await connection.fetch("select used, held, pending from meter_counter where meter = 'requests'")
        assert sum(row["used"] for row in used) == requests
        assert all((row["held"], row["pending"]) == (0, 0) for row in used)
        charged = 9 * done + 3 * 2 * len(accounts) + 3 * sum(row["used"] - 5 for row in used)
        posted = [(await balance(connection, account)).posted for account in accounts]
        assert sum(posted) == 4 * 10**9 - charged
        assert await connection.fetchval("select sum(total) from feature_counter") == 0
        assert await broken_laws(connection) == {}


async def crossing(old: Lanes, new: Lanes, begun: UUID, account: int) -> None:
    """Two requests that one version admits and the other settles, and again, with the same answer."""
    settled = await new.settle_claims(begun, account, 2, (1,))
    again = await old.settle_claims(begun, account, 2, (1,))
    assert (again.charge, again.overage) == (settled.charge, settled.overage)
    for first, second in ((new, old), (old, new)):
        hold = new_id()
        admitted = await first.admit(hold, account, 2, (REQUESTS,), expires_in_s=60)
        repeated = await second.admit(hold, account, 2, (REQUESTS,), expires_in_s=60)
        assert repeated.repeated
        assert repeated.amount == admitted.amount
        with pytest.raises(HoldConflict):
            await second.admit(hold, account, 3, (REQUESTS,), expires_in_s=60)
        settled = await second.settle_claims(hold, account, 2, (1,))
        assert (await first.settle_claims(hold, account, 2, (1,))).charge == settled.charge
