"""Whoever breaks what was sold is found, and the law is named."""

from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from tallystick.catalog.document import CostProfile, Price, reprice
from tallystick.catalog.price import Usage
from tallystick.catalog.publish import apply
from tallystick.catalog.read import version
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.usage_record import UsageRecord
from tallystick.reservations.verify import checks
from tests.ledger.money import broken_laws, customer
from tests.ledger.tamper import unguarded
from tests.reservations.test_usage_record import record

CATALOG = Path(__file__).parents[1] / "catalog" / "small.toml"


async def priced(connection: asyncpg.Connection, account: int, outcome: str = "completed") -> UsageRecord:
    """A record whose cost and charge follow from the catalog."""
    ids = {
        row["kind"]: row["id"]
        for row in await connection.fetch("select kind, max(id) as id from catalog_entry group by kind")
    }
    cost_profile = (await version(connection, ids["cost_profile"])).document
    price = (await version(connection, ids["price"])).document
    assert isinstance(cost_profile, CostProfile)
    assert isinstance(price, Price)
    cost, charge = reprice(cost_profile, price, Usage(input_tokens=300, cached_tokens=100, output_tokens=50))
    return record(
        account=account,
        input_tokens=300,
        cached_tokens=100,
        output_tokens=50,
        cost_id=ids["cost_profile"],
        price_id=ids["price"],
        cost=cost,
        charge=charge if outcome == "completed" else 0,
        outcome=outcome,
    )


@pytest.fixture
async def sold(connection: asyncpg.Connection, lanes: Lanes) -> UsageRecord:
    """One completed call and one that came to nothing, rightly priced."""
    await apply(connection, CATALOG.read_text(), now=datetime.now(UTC), dry_run=False)
    account = await customer(connection, 10**12)
    paid, free = await priced(connection, account), await priced(connection, account, "upstream_error")
    for one in (paid, free):
        await lanes.reserve(one.id, account, 10**9, expires_in_s=60)
    await lanes.settle(paid.id, account, paid.charge, paid)
    await lanes.release(free.id, account, free)
    assert await broken_laws(connection) == {}
    return paid


async def broken(connection: asyncpg.Connection, statement: str) -> dict[str, list[str]]:
    async with unguarded(connection):
        await connection.execute(statement)
    return await broken_laws(connection, checks)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update usage_record set account = account + 1", "names account"),
        ("update usage_record set id = gen_random_uuid()", "has no hold"),
        ("update hold set state = 'expired', actual = null", "tells of an end, its hold is expired"),
    ],
)
async def test_law_4_a_record_without_its_hold(
    connection: asyncpg.Connection, sold: UsageRecord, statement: str, problem: str
) -> None:
    found = await broken(connection, statement)
    assert problem in found["law 4: every usage record ended one hold"][0]


async def test_law_4_recorded_twice(connection: asyncpg.Connection, sold: UsageRecord) -> None:
    found = await broken(connection, "insert into usage_record select * from usage_record")
    assert len(found["law 4: no request is recorded twice"]) == 2


async def test_law_5_charged_something_else(connection: asyncpg.Connection, sold: UsageRecord) -> None:
    found = await broken(connection, f"update hold set actual = actual + 1 where id = '{sold.id}'")
    assert found["law 5: every hold was charged what it was settled with"] == [
        f"hold {sold.id} is settled with {sold.charge + 1}, its transfers sum to {sold.charge}"
    ]


async def test_law_5_a_cost_that_was_not_accrued(connection: asyncpg.Connection, sold: UsageRecord) -> None:
    found = await broken(connection, "delete from transfer where kind = 'provider_cost'")
    assert "law 5: provider costs are accrued" in found


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update usage_record set output_tokens = output_tokens + 1", "but the recorded usage costs"),
        ("update usage_record set charge = charge + 1 where charge > 0", "but the recorded usage is charged"),
        ("update usage_record set charge = 0", "charge 0, but the recorded usage is charged"),
        ("update usage_record set price_id = 0", "are not a cost profile and a price"),
        ("update usage_record set cost_id = price_id", "are not a cost profile and a price"),
    ],
)
async def test_law_5_a_charge_that_does_not_follow(
    connection: asyncpg.Connection, sold: UsageRecord, statement: str, problem: str
) -> None:
    found = await broken(connection, statement)
    assert problem in found["law 5: cost and charge follow from usage and price"][0]
