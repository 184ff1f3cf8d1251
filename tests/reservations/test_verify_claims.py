"""Whoever breaks what was claimed of limits is found: exactly the laws that it breaks are named."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.ids import new_id
from tallystick.ledger import verify as ledger_verify
from tallystick.reservations.claim import Claim, FeatureClaim
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.verify import checks
from tests.ledger.money import broken_laws, customer
from tests.ledger.tamper import unguarded
from tests.reservations.test_usage_record import record

NOW = datetime.now(UTC)
PERIOD = {"starts_at": NOW - timedelta(days=3), "ends_at": NOW + timedelta(days=27)}

METERS = "law 8: meters are the fold of their holds"
WINDOWS = "law 8: windows are the fold of their uses"
USES = "law 8: uses are what holds claim of windows"
OVERAGE = "law 5: what lies beyond allowances is charged as recorded"
PERIODS = "law 5: a period costs what was used beyond its allowances"
HELD = "law 1: what is held is the sum of the open holds"


def pages(units: int) -> Claim:
    return Claim(meter="pages", units=units, allowance=2, price=3, per=1, cap=100, **PERIOD)


def ads(units: int) -> FeatureClaim:
    return FeatureClaim(feature="ads", units=units, limit=10)


@pytest.fixture
async def sold(connection: asyncpg.Connection, lanes: Lanes) -> UUID:
    """Three holds with claims: 5 pages used and paid for, 4 pages still held, a released one. And four uses of ads."""
    account = await customer(connection, 1000)
    paid, running, gone = new_id(), new_id(), new_id()
    for hold, claims in ((paid, (pages(6), ads(1))), (running, (pages(4), ads(2))), (gone, (pages(1), ads(1)))):
        await lanes.admit(hold, account, 0, claims, expires_in_s=60)
    work = record(
        id=paid, account=account, endpoint="charge", provider="", model="", input_tokens=0, output_tokens=0, cost=0,
        charge=0, usage_source="none", cost_id=None, price_id=None,
    )  # fmt: skip
    settled = await lanes.settle_claims(paid, account, 0, (5, 1), work)
    assert settled.overage == 9
    await lanes.release(gone, account)
    await lanes.admit(new_id(), account, 0, (ads(1),), expires_in_s=60, counted=True)
    assert await broken_laws(connection) == {}
    return paid


async def broken(connection: asyncpg.Connection, statement: str) -> dict[str, list[str]]:
    async with unguarded(connection):
        await connection.execute(statement)
    return await broken_laws(connection, (*ledger_verify.checks, *checks))


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update meter_counter set used = used - 1", "the counter says 4 used and 4 held, its holds 5 and 4"),
        ("update meter_counter set held = held + 3", "the counter says 5 used and 7 held, its holds 5 and 4"),
        ("update meter_counter set starts_at = starts_at + interval '1 day'", "the counter says 0 used and 0 held"),
        ("update meter_counter set meter = 'sheets'", "the counter says 5 used and 4 held, its holds 0 and 0"),
        (
            "insert into meter_counter (account, meter, starts_at, ends_at, used) values (1, 'x', now(), now(), 1)",
            "the counter says 1 used and 0 held, its holds 0 and 0",
        ),
        # The hold's own word: its units are part of the counter that admitted it.
        (
            "update hold set claims[1].units = 1 where state = 'open' and claims[1].meter = 'pages'",
            "the counter says 5 used and 4 held, its holds 5 and 1",
        ),
    ],
)
async def test_law_8_a_meter_that_its_holds_do_not_add_up_to(
    connection: asyncpg.Connection, sold: UUID, statement: str, problem: str
) -> None:
    found = await broken(connection, statement)
    assert set(found) == {METERS}
    assert any(problem in each for each in found[METERS]), found


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update feature_counter set pruned = 1", "brings it from 1 by 1 to 1"),
        ("delete from feature_use where units = 2", "brings it from 1 by 1 to 4"),
        ("update feature_use set units = 1 where units = 2", "brings it from 1 by 1 to 3"),
        # A use moved out of its window, so that it no longer counts: what is behind it no longer follows.
        ("update feature_use set at = at - interval '31 days' where units = 2", "by 2 to 3"),
        ("delete from feature_use", "its total is 4"),
    ],
)
async def test_law_8_a_window_that_its_uses_do_not_add_up_to(
    connection: asyncpg.Connection, sold: UUID, statement: str, problem: str
) -> None:
    found = await broken(connection, statement)
    assert set(found) == {WINDOWS}
    assert any(problem in each for each in found[WINDOWS]), found


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update feature_counter set total = total - 1", "to 4, its total is 3"),
        ("update feature_counter set total = total + 1", "to 4, its total is 5"),
        ("delete from feature_counter", "by 1 to 1, its total is "),
    ],
)
async def test_law_8_a_total_that_is_neither_its_uses_nor_its_claims(
    connection: asyncpg.Connection, sold: UUID, statement: str, problem: str
) -> None:
    found = await broken(connection, statement)
    assert set(found) == {WINDOWS, USES}
    assert any(problem in each for each in found[WINDOWS]), found


@pytest.mark.parametrize(
    ("statement", "claimed"),
    [
        # With care: the last use and what it added, so that it could be had once more.
        (
            "delete from feature_use where cumulative = 4; update feature_counter set total = 3",
            "its total is 3, its holds claim 4",
        ),
        ("delete from feature_use; delete from feature_counter", "its total is 0, its holds claim 4"),
        ("update hold set claims = claims[:1] where state = 'open'", "its total is 4, its holds claim 2"),
        (
            "update hold set state = 'released', actual = null where created_at = expires_at",
            "its total is 4, its holds claim 3",
        ),
    ],
)
async def test_law_8_uses_that_no_hold_claims(
    connection: asyncpg.Connection, sold: UUID, statement: str, claimed: str
) -> None:
    found = await broken(connection, statement)
    assert claimed in found[USES][0]
    assert WINDOWS not in found


async def test_law_5_more_overage_recorded_than_claimed(connection: asyncpg.Connection, sold: UUID) -> None:
    found = await broken(connection, "update usage_record set overage = 10")
    assert found[OVERAGE] == [
        f"hold {sold}: its claims are charged 9 beyond their allowances, its usage record says 10"
    ]
    # The record of metered work is charged its overage, and nothing else.
    assert set(found) == {OVERAGE, "law 5: every call to a provider names what it was priced by"}


async def test_law_5_a_charge_that_no_claim_has(connection: asyncpg.Connection, sold: UUID) -> None:
    """The claim alone says less; the record and the transfers agree with each other."""
    found = await broken(connection, f"update hold set claims[1].charge = 6 where id = '{sold}'")
    assert set(found) == {OVERAGE, PERIODS}
    (problem,) = found[PERIODS]
    assert problem.endswith("5 used cost 9, and 6 was charged")


async def test_law_5_an_allowance_raised_behind_the_charge(connection: asyncpg.Connection, sold: UUID) -> None:
    found = await broken(connection, f"update hold set claims[1].allowance = 4 where id = '{sold}'")
    (problem,) = found[PERIODS]
    assert problem.endswith("5 used cost 3, and 9 was charged")
    assert set(found) == {PERIODS}


async def test_law_1_what_a_meter_can_still_cost_is_held(connection: asyncpg.Connection, sold: UUID) -> None:
    """Four pages are held beyond the allowance, at 3 each, and belong to no one hold's amount."""
    found = await broken(connection, "update meter_counter set pending = 0")
    (problem,) = found[HELD]
    assert problem.endswith("shows 12 held, its open holds and pending meters sum to 0")
    assert set(found) == {HELD}


async def test_law_1_money_held_for_no_meter(connection: asyncpg.Connection, sold: UUID) -> None:
    found = await broken(connection, "update ledger_account set held = held - 5 where held > 0")
    (problem,) = found[HELD]
    assert problem.endswith("shows 7 held, its open holds and pending meters sum to 12")
    assert set(found) == {HELD}
