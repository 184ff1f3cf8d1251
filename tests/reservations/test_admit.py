"""Admissions: holds that claims limit, all or nothing, and what becomes of the claims when the hold ends."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.errors import InsufficientCreditsError, InvalidInput, QuotaExceeded
from tallystick.base.ids import new_id
from tallystick.ledger.account import open_account
from tallystick.payments.orders.grant import GrantKind, grant
from tallystick.reservations.claim import AnyClaim, Claim, FeatureClaim
from tallystick.reservations.hold import HoldConflict, HoldEnded, WrongPeriod
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.sweep import Sweeper

NOW = datetime.now(UTC)
THIS_MONTH = {"starts_at": NOW - timedelta(days=3), "ends_at": NOW + timedelta(days=27)}


def requests(units: int = 1, *, cap: int | None = None, allowance: int = 0, price: int = 0, per: int = 1) -> Claim:
    return Claim(meter="requests", units=units, cap=cap, allowance=allowance, price=price, per=per, **THIS_MONTH)


def ads(units: int = 1, *, limit: int | None = 3) -> FeatureClaim:
    return FeatureClaim(feature="ad_generations", units=units, limit=limit)


class Customer:
    """An account that requests are admitted for."""

    def __init__(self, lanes: Lanes, pool: asyncpg.Pool, connection: asyncpg.Connection, account: int) -> None:
        self.lanes, self.pool, self.connection, self.account = lanes, pool, connection, account

    async def admit(self, *claims: AnyClaim, amount: int = 0, hold: UUID | None = None, counted: bool = False):
        hold = hold or new_id()
        admitted = await self.lanes.admit(
            hold, self.account, amount, claims, expires_in_s=60, dispatcher=None, counted=counted
        )
        return hold, admitted

    async def settle(self, hold: UUID, *units: int, actual: int = 0):
        return await self.lanes.settle_claims(hold, self.account, actual, units)

    async def counter(self, meter: str = "requests") -> tuple[int, int]:
        row = await self.connection.fetchrow(
            "select used, held from meter_counter where account = $1 and meter = $2", self.account, meter
        )
        return (row["used"], row["held"]) if row else (0, 0)

    async def uses(self) -> list[tuple[int, int]]:
        rows = await self.connection.fetch(
            "select units, cumulative from feature_use where account = $1 order by at, cumulative", self.account
        )
        return [tuple(row) for row in rows]

    async def money(self) -> tuple[int, int]:
        row = await self.connection.fetchrow("select posted, held from ledger_account where id = $1", self.account)
        return row["posted"], row["held"]


@pytest.fixture
async def customer(lanes: Lanes, pool: asyncpg.Pool, connection: asyncpg.Connection) -> Customer:
    return Customer(lanes, pool, connection, await open_account(connection))


async def give(customer: Customer, amount: int, kind: GrantKind = "purchased") -> None:
    await grant(customer.pool, customer.account, amount, operation=new_id(), kind=kind, source="test")


async def test_units_are_held_then_counted_as_used(customer: Customer) -> None:
    hold, admitted = await customer.admit(requests(8, cap=10))
    assert (admitted.layer, admitted.amount, admitted.used) == ("included", 0, (8,))
    assert await customer.counter() == (0, 8)
    settled = await customer.settle(hold, 5)
    assert settled.charge == 0
    assert await customer.counter() == (5, 0)


async def test_a_cap_refuses_with_what_is_left_and_leaves_no_trace(customer: Customer) -> None:
    await customer.admit(requests(8, cap=10))
    with pytest.raises(QuotaExceeded) as refused:
        await customer.admit(requests(3, cap=10), ads())
    error = refused.value
    assert (error.name, error.limit, error.used, error.remaining) == ("requests", 10, 8, 2)
    assert error.retry_at == THIS_MONTH["ends_at"]
    assert await customer.counter() == (0, 8)
    assert await customer.uses() == []
    assert await customer.connection.fetchval("select count(*) from hold") == 1


async def test_a_release_gives_everything_back(customer: Customer) -> None:
    await give(customer, 100)
    hold, admitted = await customer.admit(requests(4, allowance=1, price=10, per=1), ads(2), amount=5)
    assert (admitted.layer, admitted.amount, admitted.used) == ("purchased", 35, (4, 2))
    assert await customer.money() == (100, 35)
    balance = await customer.lanes.release(hold, customer.account)
    assert balance.available == 100
    assert await customer.counter() == (0, 0)
    assert await customer.uses() == []
    assert await customer.money() == (100, 0)


async def test_overage_is_exact_over_the_period(customer: Customer) -> None:
    """Half a nanocredit a unit: three requests of one unit cost 2, not 3 x 1."""
    await give(customer, 100)
    charged = 0
    for _ in range(5):
        hold, _ = await customer.admit(requests(1, allowance=2, price=1, per=2))
        charged += (await customer.settle(hold, 1)).charge
    assert charged == 2
    assert await customer.money() == (98, 0)


async def test_one_large_batch_is_split_at_the_allowance(customer: Customer) -> None:
    await give(customer, 1000)
    admitted = await asyncio.gather(*(customer.admit(requests(1, allowance=30, price=7)) for _ in range(40)))
    assert sorted(answer.amount for _, answer in admitted) == [0] * 30 + [7] * 10
    settled = await asyncio.gather(*(customer.settle(hold, 1) for hold, _ in admitted))
    assert sum(answer.charge for answer in settled) == 70
    assert await customer.money() == (930, 0)
    assert await customer.counter() == (40, 0)


async def test_exactly_as_many_as_fit_are_admitted_at_once(customer: Customer) -> None:
    answers = await asyncio.gather(*(customer.admit(requests(1, cap=50)) for _ in range(200)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 150
    assert all(isinstance(error, QuotaExceeded) for error in refused)
    assert await customer.counter() == (0, 50)


async def test_credits_decide_with_the_claims(customer: Customer) -> None:
    await give(customer, 10)
    answers = await asyncio.gather(
        *(customer.admit(requests(1, allowance=2, price=3)) for _ in range(9)), return_exceptions=True
    )
    assert sum(isinstance(answer, InsufficientCreditsError) for answer in answers) == 4
    assert await customer.counter() == (0, 5)
    assert await customer.money() == (10, 9)


async def test_the_layers_in_their_order(customer: Customer, connection: asyncpg.Connection) -> None:
    await give(customer, 10, "promotional")
    await give(customer, 10)
    await connection.execute("update ledger_account set floor = -10 where id = $1", customer.account)
    layers = [(await customer.admit(requests(1, allowance=1, price=10)))[1].layer for _ in range(4)]
    assert layers == ["included", "promotional", "purchased", "overage"]
    with pytest.raises(InsufficientCreditsError):
        await customer.admit(requests(1, allowance=1, price=10))


async def test_a_use_counts_once_for_its_id_and_can_be_given_back(customer: Customer) -> None:
    hold, first = await customer.admit(ads(), counted=True)
    _, again = await customer.admit(ads(), hold=hold, counted=True)
    assert (first.used, first.repeated) == ((1,), False)
    assert (again.used, again.repeated) == ((1,), True)
    second, _ = await customer.admit(ads(), counted=True)
    await customer.lanes.release(hold, customer.account)
    await customer.lanes.release(hold, customer.account)
    assert await customer.uses() == [(1, 1)]
    third, _ = await customer.admit(ads(2), counted=True)
    assert await customer.uses() == [(1, 1), (2, 3)]
    with pytest.raises(QuotaExceeded):
        await customer.admit(ads(), counted=True)
    with pytest.raises(HoldEnded):
        await customer.admit(ads(), hold=hold, counted=True)
    assert second != third


async def test_of_two_who_ask_at_once_with_one_id_one_is_first(customer: Customer) -> None:
    hold = new_id()
    answers = await asyncio.gather(*(customer.admit(ads(), hold=hold, counted=True) for _ in range(5)))
    assert sorted(answer.repeated for _, answer in answers) == [False, True, True, True, True]
    assert await customer.uses() == [(1, 1)]


async def test_a_use_leaves_its_window_exactly_30_days_later(customer: Customer) -> None:
    for _ in range(3):
        await customer.admit(ads(), counted=True)
    await customer.connection.execute("update feature_use set at = at - interval '719 hours 59 minutes'")
    with pytest.raises(QuotaExceeded) as refused:
        await customer.admit(ads(), counted=True)
    assert refused.value.retry_at is not None
    assert timedelta() < refused.value.retry_at - datetime.now(UTC) <= timedelta(minutes=1)
    await customer.connection.execute("update feature_use set at = at - interval '1 minute'")
    _, admitted = await customer.admit(ads(), counted=True)
    assert admitted.used == (1,)


async def test_the_same_id_with_other_content_is_a_conflict(customer: Customer) -> None:
    hold, _ = await customer.admit(requests(1, cap=5))
    for claims, amount in (((requests(2, cap=5),), 0), ((ads(),), 0), ((requests(1, cap=5), ads()), 0)):
        with pytest.raises(HoldConflict):
            await customer.admit(*claims, amount=amount, hold=hold)
    await give(customer, 10)
    with pytest.raises(HoldConflict):
        await customer.admit(requests(1, cap=5), hold=hold, amount=3)
    _, again = await customer.admit(requests(1, cap=5), hold=hold)
    assert again.repeated
    assert await customer.counter() == (0, 1)


async def test_a_settlement_is_repeated_only_with_the_same_units(customer: Customer) -> None:
    await give(customer, 100)
    hold, _ = await customer.admit(requests(5, price=2))
    assert (await customer.settle(hold, 4, actual=1)).charge == 9
    assert (await customer.settle(hold, 4, actual=1)).charge == 9
    for units, actual in ((5, 1), (4, 2)):
        with pytest.raises(HoldConflict):
            await customer.settle(hold, units, actual=actual)
    assert await customer.money() == (91, 0)
    assert await customer.counter() == (4, 0)


async def test_who_does_not_know_of_claims_ends_them_as_claimed(customer: Customer) -> None:
    await give(customer, 100)
    hold, _ = await customer.admit(requests(5, price=2))
    balance = await customer.lanes.settle(hold, customer.account, 3)
    assert balance.posted == 87
    assert await customer.counter() == (5, 0)


async def test_expired_holds_give_their_claims_back(customer: Customer, pool: asyncpg.Pool) -> None:
    await give(customer, 100)
    hold = new_id()
    await customer.lanes.admit(hold, customer.account, 5, (requests(3, cap=3), ads(3)), expires_in_s=1)
    await customer.connection.execute("update hold set expires_at = created_at")
    assert (await Sweeper(pool, young_s=0).sweep()).expired == 1
    assert await customer.counter() == (0, 0)
    assert await customer.uses() == []
    assert await customer.money() == (100, 0)


async def test_only_the_databases_clock_says_which_period_it_is(customer: Customer) -> None:
    past = Claim(meter="requests", units=1, starts_at=NOW - timedelta(days=60), ends_at=NOW - timedelta(days=30))
    with pytest.raises(WrongPeriod) as refused:
        await customer.admit(past)
    assert abs(refused.value.now - datetime.now(UTC)) < timedelta(minutes=1)
    assert await customer.counter() == (0, 0)


async def test_what_cannot_be_claimed_never_reaches_the_batch(customer: Customer) -> None:
    for claims in ((), (ads(), ads()), (ads(0),), (requests(1, price=-1),), (requests(1, per=0),)):
        with pytest.raises(ValueError, match="claim"):
            await customer.admit(*claims)
    for units in (-1, 10**16, True):
        with pytest.raises(InvalidInput):
            await customer.admit(requests(units))
