import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from tallystick.base.errors import InsufficientCreditsError, InvalidInput, NotFound, Unavailable
from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance, PlatformAccount, open_account, platform_account
from tallystick.ledger.read import balance
from tallystick.reservations.hold import HoldConflict, HoldEnded, HoldNotFound
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer


async def test_a_reserved_and_settled_call(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    assert await balance(connection, account) == Balance(100, 60, 40)
    assert await lanes.settle(hold, account, 25) == Balance(75, 0, 75)
    assert await balance(connection, account) == Balance(75, 0, 75)


async def test_a_released_hold_costs_nothing(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    assert await lanes.release(hold, account) == Balance(100, 0, 100)
    with pytest.raises(HoldEnded):
        await lanes.settle(hold, account, 1)


async def test_a_free_call_is_settled_without_a_transfer(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    assert await lanes.settle(hold, account, 0) == Balance(100, 0, 100)
    row = await connection.fetchrow("select state, actual from hold where id = $1", hold)
    assert tuple(row) == ("settled", 0)
    assert not await connection.fetchval("select count(*) from transfer where operation = $1", hold)


async def test_the_same_call_again_has_the_same_answer(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    for _ in range(3):
        await lanes.reserve(hold, account, 60, expires_in_s=60)
    for _ in range(3):
        assert await lanes.settle(hold, account, 25) == Balance(75, 0, 75)
    deduction = new_id()
    for _ in range(3):
        assert await lanes.deduct(deduction, account, 5) == Balance(70, 0, 70)
    assert await balance(connection, account) == Balance(70, 0, 70)


async def test_the_same_id_with_other_content_is_a_conflict(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, other, hold, deduction = (
        await customer(connection, 100),
        await customer(connection, 100),
        new_id(),
        new_id(),
    )
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    await lanes.deduct(deduction, account, 5)
    for conflicting in (
        lanes.reserve(hold, account, 61, expires_in_s=60),
        lanes.reserve(hold, other, 60, expires_in_s=60),
        lanes.reserve(deduction, account, 5, expires_in_s=60),
        lanes.deduct(hold, account, 60),
        lanes.deduct(deduction, account, 6),
        lanes.deduct(deduction, other, 5),
    ):
        with pytest.raises(HoldConflict):
            await conflicting
    await lanes.settle(hold, account, 25)
    with pytest.raises(HoldConflict):
        await lanes.settle(hold, account, 26)


async def test_an_ended_hold_admits_nothing(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    await lanes.settle(hold, account, 60)
    with pytest.raises(HoldEnded):
        await lanes.reserve(hold, account, 60, expires_in_s=60)
    with pytest.raises(HoldEnded):
        await lanes.release(hold, account)
    with pytest.raises(HoldEnded):
        await lanes.extend(hold, account, 70, expires_in_s=60)


async def test_a_strangers_hold_does_not_exist(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, stranger, hold = await customer(connection, 100), await customer(connection, 100), new_id()
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    for trying in (
        lanes.settle(hold, stranger, 1),
        lanes.release(hold, stranger),
        lanes.extend(hold, stranger, 61, expires_in_s=60),
        lanes.settle(new_id(), account, 1),
    ):
        with pytest.raises(HoldNotFound):
            await trying


async def test_no_account_no_hold(connection: asyncpg.Connection, lanes: Lanes) -> None:
    nobody = await open_account(connection) + 1000
    for account in (nobody, platform_account(PlatformAccount.REVENUE, 0), 0, -1):
        with pytest.raises(NotFound):
            await lanes.reserve(new_id(), account, 1, expires_in_s=60)
        with pytest.raises(NotFound):
            await lanes.deduct(new_id(), account, 1)


@pytest.mark.parametrize("amount", [-1, 2**63, 10**18, 1.5, True, None, "5"])
async def test_an_amount_that_is_none_is_refused_before_it_reaches_a_batch(
    connection: asyncpg.Connection, lanes: Lanes, amount: Any
) -> None:
    account = await customer(connection, 100)
    for trying in (
        lanes.reserve(new_id(), account, amount, expires_in_s=60),
        lanes.deduct(new_id(), account, amount),
        lanes.settle(new_id(), account, amount),
    ):
        with pytest.raises(InvalidInput):
            await trying


async def test_not_enough_credits_says_what_there_is(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 100, floor=-50, overdraft=20)
    with pytest.raises(InsufficientCreditsError) as refused:
        await lanes.reserve(new_id(), account, 131, expires_in_s=60)
    assert (refused.value.balance_nano, refused.value.required_nano) == (130, 131)
    await lanes.reserve(new_id(), account, 130, expires_in_s=60)


async def test_a_charge_above_the_hold_goes_down_to_the_floor_and_the_rest_is_owed(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account, hold = await customer(connection, 100, floor=-30, overdraft=30), new_id()
    await lanes.reserve(hold, account, 100, expires_in_s=60)
    assert await lanes.settle(hold, account, 200) == Balance(-30, 0, -30)
    rows = await connection.fetch("select kind, amount from transfer where operation = $1 order by kind", hold)
    assert [tuple(row) for row in rows] == [("usage", 130), ("shortfall", 70)]
    assert await connection.fetchval("select sum(posted)::bigint from ledger_account where kind = 'receivable'") == -70
    with pytest.raises(InsufficientCreditsError):
        await lanes.reserve(new_id(), account, 1, expires_in_s=60)
    assert await broken_laws(connection) == {}


async def test_an_extension_is_a_total_so_that_it_can_be_repeated(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    for _ in range(2):
        await lanes.extend(hold, account, 90, expires_in_s=600)
        assert await balance(connection, account) == Balance(100, 90, 10)
    with pytest.raises(InsufficientCreditsError) as refused:
        await lanes.extend(hold, account, 101, expires_in_s=600)
    assert refused.value.balance_nano == 10
    left = await connection.fetchval("select expires_at - clock_timestamp() from hold where id = $1", hold)
    assert 500 < left.total_seconds() <= 600


async def test_funds_for_three_admit_three_of_two_hundred(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 3 * 7 + 6)
    answers = await asyncio.gather(
        *(lanes.reserve(new_id(), account, 7, expires_in_s=60) for _ in range(200)), return_exceptions=True
    )
    assert answers.count(None) == 3
    assert sum(isinstance(answer, InsufficientCreditsError) for answer in answers) == 197


async def test_funds_for_a_thousand_admit_a_thousand_of_ten_thousand_over_all_writers(
    connection: asyncpg.Connection, dsn: str
) -> None:
    account = await customer(connection, 1_000 * 7 + 6)
    writers = [Lanes(dsn) for _ in range(4)]
    await asyncio.gather(*(writer.start() for writer in writers))
    answers = await asyncio.gather(
        *(writers[n % 4].reserve(new_id(), account, 7, expires_in_s=60) for n in range(10_000)), return_exceptions=True
    )
    await asyncio.gather(*(writer.stop() for writer in writers))
    assert answers.count(None) == 1_000
    assert sum(isinstance(answer, InsufficientCreditsError) for answer in answers) == 9_000
    assert await balance(connection, account) == Balance(7_006, 7_000, 6)
    assert await broken_laws(connection) == {}


async def test_one_id_from_fifty_callers_at_once_is_one_operation(connection: asyncpg.Connection, dsn: str) -> None:
    account, deduction = await customer(connection, 100), new_id()
    writers = [Lanes(dsn) for _ in range(2)]
    await asyncio.gather(*(writer.start() for writer in writers))
    answers = await asyncio.gather(*(writers[n % 2].deduct(deduction, account, 60) for n in range(50)))
    await asyncio.gather(*(writer.stop() for writer in writers))
    assert set(map(type, answers)) == {Balance}
    assert await balance(connection, account) == Balance(40, 0, 40)


async def test_one_id_for_two_accounts_at_once_is_one_hold(connection: asyncpg.Connection, lanes: Lanes) -> None:
    accounts = [await customer(connection, 100) for _ in range(4)]
    for _ in range(20):
        hold = new_id()
        answers = await asyncio.gather(
            *(lanes.reserve(hold, account, 1, expires_in_s=60) for account in accounts), return_exceptions=True
        )
        assert sorted(map(repr, map(type, answers))) == [repr(type(None)), *[repr(HoldConflict)] * 3]
    assert await connection.fetchval("select sum(held)::bigint from ledger_account") == 20
    assert await broken_laws(connection) == {}


async def test_the_same_id_with_two_contents_at_once_has_one_winner(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account, hold = await customer(connection, 100), new_id()
    answers = await asyncio.gather(
        *(lanes.deduct(hold, account, 10 + n % 2) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(answer, HoldConflict) for answer in answers) == 10
    assert await balance(connection, account) == Balance(90, 0, 90)


async def test_a_caller_that_gives_up_takes_nobody_along(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), new_id()
    tasks = [asyncio.create_task(lanes.deduct(hold, account, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    assert await tasks[1] == Balance(90, 0, 90)
    assert await balance(connection, account) == Balance(90, 0, 90)


async def test_one_poisonous_operation_fails_alone(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, victim = await customer(connection, 1000), new_id()
    # Nothing that Python lets through: a rule of the database itself.
    await connection.execute(f"alter table hold add constraint poison check (id <> '{victim}')")
    ids = [new_id() for _ in range(20)]
    ids.insert(7, victim)
    answers = await asyncio.gather(
        *(lanes.reserve(hold, account, 1, expires_in_s=60) for hold in ids), return_exceptions=True
    )
    assert isinstance(answers.pop(7), asyncpg.CheckViolationError)
    assert answers == [None] * 20
    assert await balance(connection, account) == Balance(1000, 20, 980)


async def test_too_many_waiting_are_refused_and_not_collected(connection: asyncpg.Connection, dsn: str) -> None:
    account = await customer(connection, 1000)
    lanes = Lanes(dsn, waiting_max=50)
    await lanes.start()
    answers = await asyncio.gather(
        *(lanes.reserve(new_id(), account, 1, expires_in_s=60) for _ in range(80)), return_exceptions=True
    )
    await lanes.stop()
    assert answers.count(None) == 50
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 30
    assert await balance(connection, account) == Balance(1000, 50, 950)


async def test_stop_writes_what_waits(connection: asyncpg.Connection, dsn: str) -> None:
    account = await customer(connection, 1000)
    lanes = Lanes(dsn, batch_max=8)
    await lanes.start()
    tasks = [asyncio.create_task(lanes.reserve(new_id(), account, 1, expires_in_s=60)) for _ in range(100)]
    await asyncio.sleep(0)
    await lanes.stop()
    assert await asyncio.gather(*tasks) == [None] * 100
    with pytest.raises(Unavailable):
        await lanes.reserve(new_id(), account, 1, expires_in_s=60)


async def test_ids_of_any_kind_are_ids(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account, hold = await customer(connection, 100), uuid4()
    await lanes.reserve(hold, account, 60, expires_in_s=60)
    assert await lanes.settle(hold, account, 60) == Balance(40, 0, 40)


async def test_who_sets_nothing_aside_is_not_refused_for_a_debt(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 10, floor=-100, overdraft=100)
    overrun = new_id()
    await lanes.reserve(overrun, account, 10, expires_in_s=60)
    assert (await lanes.settle(overrun, account, 50)).available == -40
    await asyncio.gather(*(lanes.reserve(new_id(), account, 0, expires_in_s=60) for _ in range(3)))
    with pytest.raises(InsufficientCreditsError):
        await lanes.reserve(new_id(), account, 1, expires_in_s=60)


async def test_deductions_of_which_some_fit_are_one_batch(connection: asyncpg.Connection, lanes: Lanes) -> None:
    edge, other = await customer(connection, 100), await customer(connection, 1000)
    before = batches()
    answers = await asyncio.gather(
        *(lanes.deduct(new_id(), edge, 40) for _ in range(3)),
        *(lanes.reserve(new_id(), other, 1, expires_in_s=60) for _ in range(20)),
        return_exceptions=True,
    )
    assert batches() == before + 1
    assert [one.balance_nano for one in answers if isinstance(one, InsufficientCreditsError)] == [20]
    assert answers.count(Balance(20, 0, 20)) == 2
    assert await balance(connection, edge) == Balance(20, 0, 20)
    assert await broken_laws(connection) == {}


def batches() -> float:
    return REGISTRY.get_sample_value("tallystick_lane_batches_total") or 0
