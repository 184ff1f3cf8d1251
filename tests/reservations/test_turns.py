"""All lanes together while little is in flight, each for itself under load, and never both at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tallystick.base.errors import Unavailable
from tallystick.base.ids import new_id
from tallystick.ledger.read import balance
from tallystick.reservations import turns
from tallystick.reservations.hold import OutcomeUnknown
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.turns import Turns
from tests.ledger.money import broken_laws, customer

FEW, MANY = 4, turns._APART_ABOVE * 2


def taking_turns(lanes: Lanes) -> Turns:
    assert lanes._turns is not None
    return lanes._turns


def together(lanes: Lanes) -> bool:
    return taking_turns(lanes)._writing is taking_turns(lanes)._together


@pytest.fixture
async def accounts(connection: asyncpg.Connection) -> list[int]:
    return [await customer(connection, 10**9) for _ in range(8)]


class Callers:
    """So many at work as they are told, each with one cycle after the other; a cycle that fails is told of."""

    def __init__(self, lanes: Lanes, accounts: list[int]) -> None:
        self.lanes, self.accounts = lanes, accounts
        self.settled = 0
        self.away: list[Unavailable] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.wanted = 0

    def be(self, many: int) -> None:
        self.tasks = [task for task in self.tasks if not task.done()]
        self.wanted = many
        self.tasks += [asyncio.create_task(self._call(number)) for number in range(len(self.tasks), many)]

    async def _call(self, number: int) -> None:
        account = self.accounts[number % len(self.accounts)]
        while number < self.wanted:
            hold = new_id()
            try:
                await self.lanes.reserve(hold, account, 10, expires_in_s=60)
                await self.lanes.settle(hold, account, 7)
                self.settled += 1
            except Unavailable as error:
                self.away.append(error)
                await asyncio.sleep(0.01)

    async def until(self, *, together_: bool) -> None:
        async with asyncio.timeout(60):
            while together(self.lanes) is not together_:
                await asyncio.sleep(0.001)

    async def stop(self) -> None:
        self.wanted = 0
        await asyncio.gather(*self.tasks)


@contextlib.asynccontextmanager
async def all_lanes_held(dsn: str) -> AsyncIterator[None]:
    """Nobody can write meanwhile."""
    blocker = await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(31249, lane) from generate_series(0, 63) as lane")
        yield
    await blocker.close()


LANE_SESSIONS = "datname = current_database() and application_name like 'tallystick lane %'"


async def at_work(connection: asyncpg.Connection, writers: set[str]) -> None:
    """Wait until these, and no others, have sent something."""
    async with asyncio.timeout(60):
        while True:
            rows = await connection.fetch(
                f"select application_name from pg_stat_activity where {LANE_SESSIONS} and state = 'active'"
            )
            if {row["application_name"] for row in rows} == writers:
                return
            await asyncio.sleep(0.001)


def many_reserves(lanes: Lanes, accounts: list[int]) -> list["asyncio.Task[None]"]:
    return [
        asyncio.create_task(lanes.reserve(new_id(), accounts[number % 8], 1, expires_in_s=60)) for number in range(MANY)
    ]


async def test_turns_change_with_the_load_and_no_operation_is_lost(
    connection: asyncpg.Connection, lanes: Lanes, accounts: list[int]
) -> None:
    callers = Callers(lanes, accounts)
    for _ in range(5):
        callers.be(FEW)
        await callers.until(together_=True)
        callers.be(MANY)
        await callers.until(together_=False)
    await callers.stop()
    assert callers.away == []
    held = [await balance(connection, account) for account in accounts]
    assert sum(one.posted for one in held) == 8 * 10**9 - 7 * callers.settled
    assert sum(one.held for one in held) == 0
    assert await broken_laws(connection) == {}


async def test_those_who_come_next_wait_until_all_of_the_turn_before_is_answered(
    connection: asyncpg.Connection, dsn: str, lanes: Lanes, accounts: list[int]
) -> None:
    callers = Callers(lanes, accounts)
    async with all_lanes_held(dsn):
        callers.be(MANY)
        async with asyncio.timeout(60):
            while sum(lane.in_flight for lane in taking_turns(lanes)._apart) == 0:
                await asyncio.sleep(0.001)
        await at_work(connection, {"tallystick lane all"})
        assert together(lanes)
    await callers.until(together_=False)
    async with all_lanes_held(dsn):
        await at_work(connection, {"tallystick lane 0", "tallystick lane 1"})
    await callers.stop()
    assert callers.away == []


async def test_connections_that_are_lost_while_turns_change_lose_nothing(
    connection: asyncpg.Connection, lanes: Lanes, accounts: list[int]
) -> None:
    callers, killed = Callers(lanes, accounts), 0
    for number in range(24):
        callers.be(MANY if number % 2 else FEW)
        before = callers.settled
        killed += await connection.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            f" where {LANE_SESSIONS} and ($1 or application_name = 'tallystick lane 1')",
            number % 3 > 0,
        )
        async with asyncio.timeout(60):
            while callers.settled == before:
                await asyncio.sleep(0.005)
    await callers.stop()
    assert killed >= 24
    # Each was sent again within its callers' patience.
    assert callers.away == []
    assert sum([(await balance(connection, account)).posted for account in accounts]) == 8 * 10**9 - 7 * callers.settled
    assert await broken_laws(connection) == {}


async def test_who_waits_for_a_turn_is_told_when_the_database_is_given_up(
    connection: asyncpg.Connection, dsn: str, accounts: list[int]
) -> None:
    lanes = Lanes(dsn, patience_s=0.3)
    await lanes.start()
    for_all = taking_turns(lanes)._together[0]
    async with all_lanes_held(dsn):
        asked = many_reserves(lanes, accounts)
        await at_work(connection, {"tallystick lane all"})
        for_all._dsn, right = dsn.rsplit("/", 1)[0] + "/there_is_no_such_database", for_all._dsn
        await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where " + LANE_SESSIONS)
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    # What had been sent; those who waited for their turn were surely not.
    assert sum(isinstance(answer, OutcomeUnknown) for answer in answers) == turns._APART_ABOVE
    with pytest.raises(Unavailable):
        await lanes.reserve(new_id(), accounts[0], 1, expires_in_s=60)
    for_all._dsn = right
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unavailable):
                await lanes.reserve(new_id(), accounts[0], 1, expires_in_s=60)
                break
            await asyncio.sleep(0.05)
    await lanes.stop()
    assert await broken_laws(connection) == {}


async def test_a_lane_that_is_held_holds_up_nobody_else(
    connection: asyncpg.Connection, dsn: str, lanes: Lanes, accounts: list[int]
) -> None:
    callers = Callers(lanes, [account for account in accounts if account % 2 == 0])
    callers.be(FEW)
    await callers.until(together_=True)
    odd = next(account for account in accounts if account % 2)
    blocker = await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(31249, 1)")
        held_up = asyncio.create_task(lanes.reserve(new_id(), odd, 1, expires_in_s=60))
        await callers.until(together_=False)
        before = callers.settled
        async with asyncio.timeout(60):
            while callers.settled < before + 100:
                await asyncio.sleep(0.005)
        assert not held_up.done()
    await blocker.close()
    await held_up
    await callers.stop()
    assert callers.away == []


async def test_a_hand_over_that_takes_too_long_is_taken_back(
    connection: asyncpg.Connection, dsn: str, lanes: Lanes, accounts: list[int]
) -> None:
    callers = Callers(lanes, [account for account in accounts if account % 2 == 0])
    callers.be(MANY)
    await callers.until(together_=False)
    odd = next(account for account in accounts if account % 2)
    blocker, hold = await asyncpg.connect(dsn), new_id()
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(31249, 1)")
        held_up = asyncio.create_task(lanes.reserve(hold, odd, 1, expires_in_s=60))
        callers.be(FEW)
        async with asyncio.timeout(60):
            while taking_turns(lanes)._next is not taking_turns(lanes)._together:
                await asyncio.sleep(0.001)
        # Behind the one before, whichever way it goes.
        after = asyncio.create_task(lanes.release(hold, odd))
        async with asyncio.timeout(60):
            while taking_turns(lanes)._next is taking_turns(lanes)._together:
                await asyncio.sleep(0.001)
        before = callers.settled
        async with asyncio.timeout(60):
            while callers.settled < before + 100:
                await asyncio.sleep(0.005)
        assert not together(lanes)
        assert not held_up.done()
        assert not after.done()
    await blocker.close()
    await held_up
    assert (await after).held == 0
    await callers.stop()
    assert callers.away == []


async def test_who_waits_goes_first_when_lanes_fall_apart(
    connection: asyncpg.Connection, dsn: str, lanes: Lanes, accounts: list[int]
) -> None:
    hold, account = new_id(), accounts[0]
    async with all_lanes_held(dsn):
        asked = [asyncio.create_task(lanes.reserve(hold, account, 1, expires_in_s=60, dispatcher=new_id()))]
        asked += many_reserves(lanes, accounts)
        await asyncio.sleep(0)
        assert sum(lane.in_flight for lane in taking_turns(lanes)._apart) > 0
        release = asyncio.create_task(lanes.release(hold, account))
        async with asyncio.timeout(60):
            while together(lanes):
                await asyncio.sleep(0.001)
    assert await asyncio.gather(*asked) == [None] * (MANY + 1)
    await release
    assert sum([(await balance(connection, account)).held for account in accounts]) == MANY
    assert await broken_laws(connection) == {}


async def test_a_lane_that_is_away_keeps_its_turn_and_the_other_goes_on(
    connection: asyncpg.Connection, dsn: str, accounts: list[int]
) -> None:
    lanes = Lanes(dsn, patience_s=0.3)
    await lanes.start()
    callers = Callers(lanes, [account for account in accounts if account % 2 == 0])
    callers.be(MANY)
    await callers.until(together_=False)
    blocker = await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(31249, 1)")
        odd = next(account for account in accounts if account % 2)
        with pytest.raises(OutcomeUnknown):
            await lanes.reserve(new_id(), odd, 1, expires_in_s=60, dispatcher=new_id())
        with pytest.raises(Unavailable):
            await lanes.reserve(new_id(), odd, 1, expires_in_s=60)
        callers.be(FEW)
        before = callers.settled
        async with asyncio.timeout(60):
            while callers.settled < before + 50:
                await asyncio.sleep(0.005)
        assert not together(lanes)
    await blocker.close()
    # Back, with what nobody believed in released: then the turns change as ever.
    await callers.until(together_=True)
    assert (await balance(connection, odd)).held == 0
    assert callers.away == []
    await callers.stop()
    await lanes.stop()
    assert await broken_laws(connection) == {}


async def test_a_lane_that_cannot_connect_ends_no_turn(
    connection: asyncpg.Connection, dsn: str, accounts: list[int]
) -> None:
    lanes = Lanes(dsn, patience_s=0.3)
    await lanes.start()
    callers = Callers(lanes, [account for account in accounts if account % 2 == 0])
    callers.be(MANY)
    await callers.until(together_=False)
    lost = taking_turns(lanes)._apart[1]
    lost._dsn, right = dsn.rsplit("/", 1)[0] + "/there_is_no_such_database", lost._dsn
    blocker, odd, hold = await asyncpg.connect(dsn), next(account for account in accounts if account % 2), new_id()
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(31249, 1)")
        with pytest.raises(OutcomeUnknown):
            await lanes.reserve(hold, odd, 1, expires_in_s=60, dispatcher=new_id())
        # What the lost batch would have done, had its commit gone through.
        await blocker.execute(
            "insert into hold (id, account, amount, created_at, expires_at, dispatcher)"
            " values ($1, $2, 1, now(), now() + interval '1 h', $1)",
            hold,
            odd,
        )
        await blocker.execute("update ledger_account set held = 1 where id = $1", odd)
    await blocker.close()
    callers.be(FEW)
    before = callers.settled
    async with asyncio.timeout(60):
        while callers.settled < before + 50:
            await asyncio.sleep(0.005)
    # Nobody else may touch that account before the hold that nobody believes in is released.
    assert not together(lanes)
    assert (await balance(connection, odd)).held == 1
    lost._dsn = right
    await callers.until(together_=True)
    assert (await balance(connection, odd)).held == 0
    assert callers.away == []
    await callers.stop()
    await lanes.stop()
    assert await broken_laws(connection) == {}


async def test_stopping_writes_what_waits_for_its_turn(
    connection: asyncpg.Connection, dsn: str, accounts: list[int]
) -> None:
    lanes = Lanes(dsn)
    await lanes.start()
    asked = many_reserves(lanes, accounts)
    await asyncio.sleep(0)
    assert sum(lane.in_flight for lane in taking_turns(lanes)._apart) > 0
    await asyncio.wait_for(lanes.stop(), 60)
    assert await asyncio.gather(*asked) == [None] * MANY
    assert sum([(await balance(connection, account)).held for account in accounts]) == MANY


async def test_a_writer_that_dies_leaves_nobody_waiting_for_its_turn(
    connection: asyncpg.Connection, dsn: str, accounts: list[int]
) -> None:
    lanes = Lanes(dsn)
    await lanes.start()
    async with all_lanes_held(dsn):
        asked = many_reserves(lanes, accounts)
        await at_work(connection, {"tallystick lane all"})
        taking_turns(lanes)._together[0]._writer.cancel()  # type: ignore[union-attr]
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
        assert all(isinstance(answer, Unavailable) for answer in answers)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(lanes.reserve(new_id(), accounts[0], 1, expires_in_s=60), 60)
    assert not any(lane.in_flight for lane in taking_turns(lanes)._all())
    await asyncio.wait_for(lanes.stop(), 60)


async def test_processes_take_their_turns_each_for_itself(
    connection: asyncpg.Connection, dsn: str, accounts: list[int]
) -> None:
    several = [Lanes(dsn) for _ in range(3)]
    for one in several:
        await one.start()
    crowds = [Callers(one, accounts) for one in several]
    for number in range(6):
        for place, callers in enumerate(crowds):
            callers.be(MANY if (number + place) % 2 else FEW)
        for place, callers in enumerate(crowds):
            await callers.until(together_=(number + place) % 2 == 0)
    for callers in crowds:
        await callers.stop()
        assert callers.away == []
    settled = sum(callers.settled for callers in crowds)
    assert sum([(await balance(connection, account)).posted for account in accounts]) == 8 * 10**9 - 7 * settled
    assert await broken_laws(connection) == {}
    for one in several:
        await one.stop()


async def test_one_lane_is_always_together(connection: asyncpg.Connection, dsn: str, accounts: list[int]) -> None:
    await connection.execute("update ledger_layout set lanes = 1")
    lanes = Lanes(dsn)
    await lanes.start()
    callers = Callers(lanes, accounts)
    callers.be(MANY)
    async with asyncio.timeout(60):
        while callers.settled < 5 * MANY:
            await asyncio.sleep(0.005)
    await callers.stop()
    await lanes.stop()
    assert callers.away == []
    assert await broken_laws(connection) == {}
