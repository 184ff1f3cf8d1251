from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from tallystick.base.ids import new_id
from tallystick.catalog.publish import apply
from tallystick.reservations.hold import HoldConflict
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.usage_record import UsageRecord
from tests.ledger.money import broken_laws, customer

# 3 tokens in and 4 out cost 5 nanocredits and are charged 7.
CATALOG = """
[[provider]]
name = "acme"
base_url = "https://api.acme.test/v1"

[[cost_profile]]
provider = "acme"
model = "acme-1"
input = 0.001
output = 0.0005

[[price]]
provider = "acme"
model = "acme-1"
input = 0.001
output = 0.001
"""


@pytest.fixture
async def priced(connection: asyncpg.Connection) -> dict[str, int]:
    """The versions that such a call is priced by."""
    await apply(connection, CATALOG, now=datetime.now(UTC))
    found = await connection.fetch("select kind, id from catalog_entry where kind in ('cost_profile', 'price')")
    ids = {row["kind"]: row["id"] for row in found}
    return {"cost_id": ids["cost_profile"], "price_id": ids["price"]}


def record(**changes: Any) -> UsageRecord:
    fields: dict[str, Any] = {
        "id": new_id(),
        "account": 1_048_576,
        "endpoint": "chat.completions",
        "alias": "fast",
        "provider": "acme",
        "model": "acme-1",
        "stream": True,
        "input_tokens": 3,
        "output_tokens": 4,
        "usage_source": "provider",
        "cost": 5,
        "charge": 7,
        "reserved": 60,
        "outcome": "completed",
        "rule": "completed",
        "status": 200,
        "attempts": 1,
        "latency_ms": 12,
    }
    return UsageRecord(**(fields | changes))


async def test_a_record_is_written_with_the_end_of_its_hold_and_its_cost_accrued(
    connection: asyncpg.Connection, lanes: Lanes, priced: dict[str, int]
) -> None:
    account = await customer(connection, 100)
    paid = record(account=account, cached_tokens=2, api_key="key_1", upstream_id="up-1", first_byte_ms=3, **priced)
    free = record(account=account, charge=0, outcome="upstream_error", **priced)
    for one in (paid, free):
        await lanes.reserve(one.id, account, 60, expires_in_s=60)
        if one is paid:
            await lanes.settle(one.id, account, 7, one)
        else:
            await lanes.release(one.id, account, one)
    rows = await connection.fetch("select * from usage_record order by at")
    assert [{key: value for key, value in row.items() if key != "at"} for row in rows] == [
        {name: getattr(one, name) for name in UsageRecord.__struct_fields__} | {"layer": None, "overage": 0}
        for one in (paid, free)
    ]
    accrued = await connection.fetchval(
        "select sum(posted)::bigint from ledger_account where kind = 'provider_payable'"
    )
    assert accrued == 10
    assert await broken_laws(connection) == {}


async def test_a_settlement_repeated_records_nothing_more(
    connection: asyncpg.Connection, lanes: Lanes, priced: dict[str, int]
) -> None:
    account = await customer(connection, 100)
    one = record(account=account, **priced)
    await lanes.reserve(one.id, account, 60, expires_in_s=60)
    for _ in range(3):
        await lanes.settle(one.id, account, 7, one)
    with pytest.raises(HoldConflict):
        await lanes.settle(one.id, account, 8, record(id=one.id, account=account, charge=8))
    assert await connection.fetchval("select count(*) from usage_record") == 1
    assert await broken_laws(connection) == {}


async def test_names_from_strangers_are_made_storable(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 100)
    one = record(account=account, alias="a\x00b\ud800\ncü", model="\u202egpt")
    await lanes.reserve(one.id, account, 60, expires_in_s=60)
    await lanes.settle(one.id, account, 7, one)
    row = await connection.fetchrow("select alias, model from usage_record")
    assert tuple(row) == ("a\ufffdb\ufffd\ufffdcü", "\ufffdgpt")


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_tokens": -1},
        {"output_tokens": 2**63},
        {"cost": -5},
        {"status": 70_000},
        {"attempts": -1},
        {"latency_ms": 2**31},
        {"first_byte_ms": -1},
    ],
)
def test_what_the_table_cannot_hold_is_no_record(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be between"):
        record(**wrong)


async def test_a_record_tells_of_its_own_settlement(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 100)
    one = record(account=account)
    await lanes.reserve(one.id, account, 60, expires_in_s=60)
    for trying in (
        lanes.settle(one.id, account, 8, one),
        lanes.settle(new_id(), account, 7, one),
        lanes.release(one.id, account, one),
    ):
        with pytest.raises(ValueError, match="must tell of"):
            await trying
