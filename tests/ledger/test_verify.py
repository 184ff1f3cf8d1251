"""Whoever breaks the books is found, and the law is named."""

import asyncio

import asyncpg
import pytest

from tallystick.base.ids import new_id
from tallystick.ledger.account import open_account
from tallystick.ledger.read import trial_balance
from tallystick.ledger.reverse import reverse
from tallystick.ledger.seal import seal
from tallystick.ledger.verify import Block, anchored, checks, newest_block
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import ALL_CHECKS, broken_laws, customer, give
from tests.ledger.tamper import unguarded
from tests.reservations.test_usage_record import record


@pytest.fixture
async def account(pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes) -> int:
    """A customer with some of everything: a purchase, a charge, a deduction, a reversal, an open hold, sealed."""
    account, hold, deduction = await customer(connection, 1000), new_id(), new_id()
    await lanes.reserve(hold, account, 100, expires_in_s=600)
    await lanes.settle(hold, account, 70)
    await lanes.deduct(deduction, account, 30)
    async with connection.transaction():
        await reverse(connection, deduction)
    await lanes.reserve(new_id(), account, 50, expires_in_s=600)
    await seal(pool)
    assert await broken_laws(connection) == {}
    return account


async def broken(connection: asyncpg.Connection, *statements: str) -> dict[str, list[str]]:
    async with unguarded(connection):
        for statement in statements:
            await connection.execute(statement)
    return await broken_laws(connection, checks)


async def newest(connection: asyncpg.Connection) -> Block:
    found = await newest_block(connection)
    assert found is not None
    return found


async def test_law_1_money_from_nowhere(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(connection, f"update ledger_account set posted = posted + 5 where id = {account}")
    assert found["law 1: debits and credits are equal"] == ["the accounts of unit CREDIT sum to 5, not to zero"]
    assert found["law 1: every balance is the sum of its transfers"] == [
        f"account {account} shows 935 posted, its transfers sum to 930"
    ]
    assert "law 12: deposits less refunds, usage and expiry are the balances" in found


async def test_law_1_a_transfer_that_moved_nothing(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(
        connection,
        "insert into transfer (at, debit, credit, amount, kind, operation)"
        f" values (now(), {account}, 64, 1, 'adjustment', gen_random_uuid())",
    )
    assert set(found["law 1: every balance is the sum of its transfers"]) == {
        "account 64 shows 70 posted, its transfers sum to 71",
        f"account {account} shows 930 posted, its transfers sum to 929",
    }
    assert "law 9: every posting is in the register" in found


async def test_law_1_held_without_a_hold(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(connection, "update hold set state = 'expired' where state = 'open'")
    assert found == {
        "law 1: what is held is the sum of the open holds": [
            f"account {account} shows 50 held, its open holds and pending meters sum to 0"
        ]
    }


async def test_law_2_below_the_floor(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(
        connection,
        "alter table ledger_account drop constraint funds",
        f"update ledger_account set floor = 900 where id = {account}",
    )
    assert found == {
        "law 2: no account stands below its floor": [
            f"account {account} has 930 posted and 50 held, below its floor of 900"
        ],
        "law 2: the database refuses an account below its floor": [
            'table ledger_account has lost its constraint "funds"'
        ],
    }


async def test_law_3_a_hold_that_nobody_ended(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(
        connection,
        "update hold set expires_at = now() - interval '1 h', created_at = now() - interval '2 h' where state = 'open'",
    )
    (problem,) = found["law 3: no hold outlives its time"]
    assert f"of account {account} should have ended" in problem


@pytest.fixture
async def charged(connection: asyncpg.Connection, lanes: Lanes, account: int) -> int:
    """The customer has paid for metered work, too, which has no provider and no price of a model."""
    hold = new_id()
    work = record(
        id=hold, account=account, endpoint="charge", provider="", model="", input_tokens=0, output_tokens=0, cost=0,
        charge=0, usage_source="none",
    )  # fmt: skip
    await lanes.reserve(hold, account, 0, expires_in_s=60)
    await lanes.settle(hold, account, 0, work)
    assert await broken_laws(connection) == {}
    return account


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update usage_record set endpoint = 'chat.completions'", "does not name its cost and its price"),
        (
            "update usage_record set endpoint = 'embeddings', provider = 'acme', cost_id = 1",
            "of embeddings at acme does",
        ),
        ("update usage_record set cost = 5", "of metered work costs 5 and charges 0 where its claims say 0"),
        ("update usage_record set charge = 7", "of metered work costs 0 and charges 7 where its claims say 0"),
        ("update usage_record set provider = 'acme'", "of metered work"),
        ("update usage_record set price_id = 1", "of metered work"),
    ],
)
async def test_law_5_a_call_that_names_no_price(
    connection: asyncpg.Connection, charged: int, statement: str, problem: str
) -> None:
    found = await broken(connection, statement)
    assert problem in found["law 5: every call to a provider names what it was priced by"][0]


async def test_law_9_charged_twice(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(
        connection,
        "insert into transfer (at, debit, credit, amount, kind, operation)"
        " select at, debit, credit, amount, kind, operation from transfer where kind = 'usage'",
    )
    (problem,) = found["law 9: no operation is posted twice"]
    assert "was charged 2 times" in problem


async def test_law_9_a_register_without_its_posting(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(
        connection, "insert into operation (id, kind, fingerprint, at) values (gen_random_uuid(), 'grant', '', now())"
    )
    (problem,) = found["law 9: every posting is in the register"]
    assert "of kind grant has no transfers" in problem


@pytest.mark.parametrize(
    "statement",
    [
        "update transfer set amount = amount + 1 where kind = 'usage'",
        "update transfer set at = at + interval '1 microsecond' where kind = 'usage'",
        "delete from transfer where kind = 'usage'",
        "update transfer set operation = gen_random_uuid() where kind = 'usage'",
        "update ledger_block set hash = sha256('something else')",
        "update ledger_block set previous = sha256('something else')",
        "update ledger_block set number = 7",
    ],
)
async def test_law_10_rewritten_history(connection: asyncpg.Connection, account: int, statement: str) -> None:
    found = await broken(connection, statement)
    assert "law 10: the chain of hashes verifies" in found


async def test_law_10_a_block_taken_out(
    pool: asyncpg.Pool, connection: asyncpg.Connection, account: int, lanes: Lanes
) -> None:
    for _ in range(2):
        await lanes.deduct(new_id(), account, 1)
        await seal(pool)
    found = await broken(connection, "delete from ledger_block where number = 2")
    (problem,) = found["law 10: the chain of hashes verifies"]
    assert problem.startswith("block 3 does not follow")


@pytest.mark.parametrize("table", ["transfer", "usage_record_default", "ledger_block"])
async def test_law_10_a_guard_taken_down(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute(f"alter table {table} disable trigger append_only_truncate")
    assert await broken_laws(connection, checks) == {
        "law 10: history is append-only": [f"table {table} can be truncated: its trigger is gone or disabled"]
    }


async def test_law_10_the_end_of_history_taken_away_is_found_by_its_anchor(
    pool: asyncpg.Pool, connection: asyncpg.Connection, account: int, lanes: Lanes
) -> None:
    anchors = [await newest(connection)]
    for _ in range(2):
        await lanes.deduct(new_id(), account, 1)
        await seal(pool)
        anchors.append(await newest(connection))
    assert [anchor.number for anchor in anchors] == [1, 2, 3]
    for anchor in anchors:
        assert await broken_laws(connection, [*checks, anchored(anchor.hash)]) == {}
    # All that names the last deduction is taken away, with care: only who kept the hash can tell.
    async with unguarded(connection):
        await connection.execute(
            "delete from ledger_block where number = 3;"
            "with gone as (delete from transfer where seq = (select max(seq) from transfer) returning *),"
            "  given_back as (update ledger_account a set posted = posted + amount from gone where a.id = gone.debit),"
            "  taken as (update ledger_account a set posted = posted - amount from gone where a.id = gone.credit)"
            "delete from hold using gone where hold.id = gone.operation"
        )
    assert await broken_laws(connection, checks) == {}
    assert await broken_laws(connection, [anchored(anchors[1].hash)]) == {}
    assert await broken_laws(connection, [anchored(anchors[2].hash)]) == {
        "law 10: the anchor is a block of the chain": [
            f"no block has the hash {anchors[2].hash}: it was taken away, or history before it was rewritten"
        ]
    }


async def test_a_ledger_without_blocks_has_no_newest_one(connection: asyncpg.Connection) -> None:
    assert await newest_block(connection) is None


async def test_totals_beyond_a_bigint_are_still_added_up(connection: asyncpg.Connection) -> None:
    """Each account fits a BIGINT, and the platform's do so lane by lane; all together they need not."""
    deep = -(2**63) + 2**61
    await connection.execute("update ledger_account set floor = $1 where id < 1048576", deep)
    for _ in range(4):
        account = await customer(connection, 1)
        for kind, amount in (("purchased", 2**61), ("promotional", 2**61 - 1)):
            await give(connection, account, amount, kind=kind)
    lines = {line.kind: line.posted for line in await trial_balance(connection)}
    assert lines["customer"] == 4 * 2**62 > 2**63
    assert sum(lines.values()) == 0
    assert await broken_laws(connection) == {}


async def test_law_12_more_credits_than_lots(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(connection, "delete from lot where kind = 'restored'", "update lot set remaining = 900")
    assert found == {
        "law 12: lots cover the balances": [f"account {account} has 930 posted but only 900 left in its lots"]
    }


async def test_law_7_a_reversal_of_something_else(connection: asyncpg.Connection, account: int) -> None:
    found = await broken(connection, "update transfer set amount = amount + 1 where kind = 'reversal'")
    (problem,) = found["law 7: a reversal is its original with the sign changed"]
    assert "does not mirror" in problem


async def test_all_laws_hold_on_every_snapshot_under_load(
    pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes
) -> None:
    accounts = [await customer(connection, 500) for _ in range(10)]

    async def caller(n: int) -> None:
        async with pool.acquire() as own:
            for turn in range(15):
                account, hold = accounts[(n + turn) % 10], new_id()
                await give(own, account, 3)
                await lanes.reserve(hold, account, 5, expires_in_s=60)
                await lanes.settle(hold, account, 3 + turn % 4)

    callers = [asyncio.create_task(caller(n)) for n in range(6)]
    snapshots = 0
    while not all(task.done() for task in callers):
        assert await broken_laws(connection, ALL_CHECKS) == {}
        await seal(pool)
        snapshots += 1
    await asyncio.gather(*callers)
    assert snapshots > 1


async def test_an_empty_ledger_breaks_no_law(connection: asyncpg.Connection) -> None:
    await open_account(connection)
    assert await broken_laws(connection) == {}
