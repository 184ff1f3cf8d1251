"""Admissions and ends as rows do what those as columns do, by the short way and by the long one."""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.ids import new_id
from tallystick.ledger.account import open_account
from tallystick.payments.orders.grant import grant

BEGIN = datetime.now(UTC)
PERIOD = timedelta(minutes=10)
NOBODY = UUID(int=0)
PLAIN, MANY = 10**6, 10**15

Terms = tuple[int, int | None, int, int]
"""Allowance, cap, price, per."""


class Claim(NamedTuple):
    """The columns of a claim_entry after its place."""

    meter: str
    starts_at: datetime | None
    ends_at: datetime | None
    units: int
    allowance: int
    cap: int | None
    price: int
    per: int


@dataclass
class Ask:
    account: int
    claims: tuple[Claim, ...]
    amount: int = 0
    counted: bool = False
    id: UUID = field(default_factory=new_id)
    dispatcher: UUID | None = None


@dataclass
class End:
    id: UUID
    account: int
    actual: int | None
    units: tuple[int, ...] | None


class Twins:
    """One ledger, for which every batch is done by the functions that take columns, undone, and done by the others."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.now = BEGIN
        self.short, self.long = 0, 0

    async def admit(self, asks: Sequence[Ask]) -> asyncpg.Record:
        claims = [(place, *claim) for place, ask in enumerate(asks, 1) for claim in ask.claims]
        columns = [list(column) for column in zip(*claims, strict=True)]
        return await self._both(
            f"select * from batch_admit_in_columns({', '.join(f'${n}' for n in range(1, 17))})",
            (
                self.now, [ask.id for ask in asks], [ask.account for ask in asks], [ask.amount for ask in asks],
                [60] * len(asks), [ask.dispatcher or NOBODY for ask in asks], [ask.counted for ask in asks], *columns,
            ),
            "select * from batch_admit($1, $2::admit_entry[], $3::claim_entry[])",
            (
                self.now,
                [(ask.id, ask.account, ask.amount, 60, ask.dispatcher, ask.counted) for ask in asks],
                claims,
            ),
        )  # fmt: skip

    async def end(self, ends: Sequence[End]) -> asyncpg.Record:
        starts: list[int | None] = []
        units: list[int] = []
        for end in ends:
            starts.append(None if end.units is None else len(units) + 1 if end.units else 0)
            if end.units:
                units += [len(end.units), *end.units]
        ids, accounts = [end.id for end in ends], [end.account for end in ends]
        found = await self._both(
            "select * from batch_price_in_columns($1, $2, $3, $4, $5)",
            (ids, accounts, [end.actual for end in ends], starts, units),
            "select * from batch_price($1::end_entry[])",
            ([(end.id, end.account, end.actual, end.units) for end in ends],),
        )
        await self.connection.execute(
            "select from ledger_layout, post_batch(0, lanes::integer, $1, $2, $3, null, null, null, null, null,"
            " null, null, null, null, null, null, null, null, $4, $5)",
            ids, accounts, found["actuals"], found["priced"], found["freed"],
        )  # fmt: skip
        return found

    async def _both(
        self, old: str, old_given: tuple[object, ...], new: str, new_given: tuple[object, ...]
    ) -> asyncpg.Record:
        await self.connection.execute("savepoint before")
        expected = await self.connection.fetchrow(old, *old_given)
        expected_rows = await self._rows()
        await self.connection.execute("rollback to before; release before; set local test.way = 'short'")
        found = await self.connection.fetchrow(new, *new_given)
        assert dict(found) == dict(expected)
        assert await self._rows() == expected_rows
        if await self.connection.fetchval("select current_setting('test.way')") == "short":
            self.short += 1
        else:
            self.long += 1
        return found

    async def _rows(self) -> list[str]:
        """Everything that these functions write."""
        rows = await self.connection.fetch(
            "select 1 as n, hold::text as row from hold union all select 2, one::text from meter_counter as one"
            " union all select 3, one::text from feature_counter as one union all select 4, use::text from feature_use"
            " as use union all select 5, a::text from ledger_account as a order by 1, 2"
        )
        return [row["row"] for row in rows]


@pytest.fixture
async def twins(pool: asyncpg.Pool) -> AsyncIterator[Twins]:
    """In a transaction that comes to nothing, with the settings that batches have. The functions that take columns
    are renamed, and who calls them by their name is noticed: that is the long way."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        settings = await connection.fetchval("select proconfig from pg_proc where proname = 'post_batch_with_claims'")
        for setting in settings:
            await connection.execute("select set_config($1, $2, true)", *setting.split("=", 1))
        for name, columns in (("batch_admit", 16), ("batch_price", 5)):
            types, arguments = await connection.fetchrow(
                "select oidvectortypes(proargtypes), pg_get_function_arguments(oid) from pg_proc"
                " where proname = $1 and pronargs = $2",
                name, columns,
            )  # fmt: skip
            await connection.execute(f"alter function {name}({types}) rename to {name}_in_columns")
            given = ", ".join(f"${n}" for n in range(1, columns + 1))
            await connection.execute(
                f"create function {name}({arguments}) language sql as"
                f" $$ select set_config('test.way', 'long', true); select * from {name}_in_columns({given}) $$"
            )
        yield Twins(connection)
        await transaction.rollback()


def claim(
    now: datetime, units: int = 1, *, meter: str = "requests", terms: Terms = (0, None, 0, 1), periods: int = 0
) -> Claim:
    """In the period that is now, or so many later."""
    starts_at = BEGIN + PERIOD * ((now - BEGIN) // PERIOD + periods)
    allowance, cap, price, per = terms
    return Claim(meter, starts_at, starts_at + PERIOD, units, allowance, cap, price, per)


async def funded(
    pool: asyncpg.Pool, purchased: int = 0, promotional: int = 0, floor: int = 0, overdraft: int = 0
) -> int:
    async with pool.acquire() as connection:
        account = await open_account(connection, floor=floor, overdraft=overdraft)
    if purchased:
        await grant(pool, account, purchased, operation=new_id(), kind="purchased", source="test")
    if promotional:
        await grant(pool, account, promotional, operation=new_id(), source="test")
    return account


class Batches:
    """Batches as they come: mostly usual, and now and then of everything that there is."""

    def __init__(self, seed: int, accounts: Sequence[int]) -> None:
        self.random = random.Random(seed)
        self.accounts = self.accounts_now = accounts
        self.now = BEGIN
        self.terms = {(account, meter): self._new_terms() for account in accounts for meter in ("requests", "tokens")}
        self.holds: dict[UUID, Ask] = {}
        self.open: list[UUID] = []

    def admissions(self) -> list[Ask]:
        # Some time, and now and then a new period.
        self.now += timedelta(seconds=self.random.choice((1, 1, 5, 40)))
        if self.random.random() < 0.05:
            owner = self.random.choice(list(self.terms))
            self.terms[owner] = self._new_terms()
        odd = self.random.random() < 0.25
        asks: dict[UUID, Ask] = {}
        # Few accounts, or one that cannot pay would make nearly every batch an unusual one.
        self.accounts_now = self.random.sample(self.accounts, self.random.choice((1, 1, 2, 3)))
        only = self.random.choice(("requests", "tokens", "tokens", None))
        for _ in range(self.random.choice((1, 2, 4, 9))):
            ask = self._odd() if odd and self.random.random() < 0.4 else self._usual(only)
            asks[ask.id] = ask
        return list(asks.values())

    def ends(self) -> list[End]:
        chosen = self.random.sample(self.open, self.random.randint(0, len(self.open)))
        self.open = [hold for hold in self.open if hold not in chosen]
        ends = [self._end(self.holds[hold]) for hold in chosen]
        if self.random.random() < 0.2:
            ends.append(End(new_id(), self.random.choice(self.accounts), 0, ()))
        ended = [hold for hold in self.holds if hold not in self.open and hold not in chosen]
        if ended and self.random.random() < 0.2:
            ends.append(self._end(self.holds[self.random.choice(ended)]))
        self.random.shuffle(ends)
        return ends

    def _usual(self, only: str | None) -> Ask:
        account = self.random.choice(self.accounts_now)
        meter = only or self.random.choice(("requests", "tokens"))
        units = self.random.choice((0, 1, 1, 1, 2, 3, 7))
        amount = self.random.choice((0, 0, 0, 5, 30))
        terms = self.terms[account, meter]
        if terms[3] == PLAIN:
            units *= 10**8
        return Ask(account, (claim(self.now, units, meter=meter, terms=terms),), amount)

    def _odd(self) -> Ask:
        ask = self._usual(None)
        feature = Claim("ads", None, None, self.random.choice((1, 2)), 0, self.random.choice((None, 5)), 0, 1)
        match self.random.randrange(9):
            case 0:
                ask.claims = (*ask.claims, feature)
            case 1:
                ask.claims = (feature,)
            case 2:
                ask = Ask(ask.account, (feature,), counted=True)
            case 3:
                other = "tokens" if ask.claims[0].meter == "requests" else "requests"
                ask.claims = (*ask.claims, claim(self.now, 1, meter=other, terms=self.terms[ask.account, other]))
            case 4 if self.holds:
                again = self.holds[self.random.choice(self.open or list(self.holds))]
                ask = Ask(again.account, again.claims, again.amount + self.random.choice((0, 0, 1)), id=again.id)
            case 5:
                ask.account = self.random.choice((4_000_000, 5))
            case 6:
                moved = claim(self.now, periods=self.random.choice((-1, 1)))
                ask.claims = (ask.claims[0]._replace(starts_at=moved.starts_at, ends_at=moved.ends_at),)
            case 7:
                allowance, cap, price, per = self._new_terms()
                ask.claims = (ask.claims[0]._replace(allowance=allowance, cap=cap, price=price, per=per),)
            case _:
                ask.claims = (ask.claims[0]._replace(units=MANY + 1),)
        if self.random.random() < 0.5:
            ask.dispatcher = new_id()
        return ask

    def _end(self, ask: Ask) -> End:
        actual = self.random.choice((None, 0, ask.amount, ask.amount, ask.amount + 40))
        units: tuple[int, ...] | None = tuple(
            self.random.choice((one.units, one.units, 0, one.units // 2, one.units + 1, one.units * 5))
            for one in ask.claims
        )
        if self.random.random() < 0.2:
            units = ()
        elif self.random.random() < 0.05:
            units = None
        account = ask.account if self.random.random() < 0.97 else self.random.choice(self.accounts)
        return End(ask.id, account, actual, units)

    def _new_terms(self) -> Terms:
        if self.random.random() < 0.1:
            # Three credits for a million, of so many that the product does not fit a BIGINT.
            return 10**8, None, 3 * 10**9, PLAIN
        allowance = self.random.choice((0, 0, 5, 20, 10**9))
        cap = self.random.choice((None, None, None, 12, 60))
        price, per = self.random.choice(((0, 1), (7, 1), (1, 3), (50, 2)))
        return allowance, cap, price, per


@pytest.mark.parametrize("seed", range(8))
async def test_both_ways_do_the_same(pool: asyncpg.Pool, twins: Twins, seed: int) -> None:
    accounts = [
        await funded(pool, purchased=10**9),
        await funded(pool, purchased=10**9, promotional=500),
        await funded(pool, promotional=10**15),
        await funded(pool, purchased=100),
        await funded(pool, purchased=1500),
        await funded(pool, purchased=600, promotional=400),
        await funded(pool, purchased=200, floor=-900, overdraft=20),
        await funded(pool, purchased=10**15, promotional=40, floor=-100),
    ]
    batches = Batches(seed, accounts)
    for _ in range(70):
        asks = batches.admissions()
        twins.now = batches.now
        admitted = await twins.admit(asks)
        for ask, code in zip(asks, admitted["codes"], strict=True):
            if code == "admitted":
                batches.holds[ask.id] = ask
                if not ask.counted:
                    batches.open.append(ask.id)
        if batches.random.random() < 0.6:
            await twins.end(batches.ends())
    # Neither way is left out.
    assert twins.short > 20
    assert twins.long > 20


async def begun(twins: Twins, account: int, terms: Terms = (0, None, 0, 1), meter: str = "requests") -> None:
    """The first request of a period makes the counter, and goes the long way."""
    await twins.admit([Ask(account, (claim(twins.now, 0, meter=meter, terms=terms),))])
    assert (twins.short, twins.long) == (0, 1)
    twins.long = 0


@dataclass
class Usual:
    """Units of requests that come together, one after the other; what each must set aside, and of which layer."""

    terms: Terms
    units: tuple[int, ...]
    amounts: tuple[int, ...]
    layers: tuple[str, ...]
    purchased: int = 100
    promotional: int = 0
    amount: int = 0


@pytest.mark.parametrize(
    "usual",
    [
        Usual((10, None, 7, 1), (1,), (0,), ("included",)),
        Usual((0, None, 7, 1), (1,), (7,), ("purchased",)),
        Usual((3, None, 7, 1), (1, 2, 2, 1), (0, 0, 14, 7), ("included", "included", "purchased", "purchased")),
        # One nanocredit for two units: rounded up over the period.
        Usual((0, None, 1, 2), (1, 1, 1), (1, 0, 1), ("purchased", "included", "purchased")),
        Usual((0, 4, 7, 1), (2, 2), (14, 14), ("purchased", "purchased")),
        Usual((0, None, 50, 1), (1, 1), (50, 50), ("purchased", "purchased")),
        Usual((0, None, 45, 1), (1, 1), (50, 50), ("promotional", "purchased"), purchased=50, promotional=50, amount=5),
        Usual((10**8, None, 3 * 10**9, PLAIN), (10**8 + 1,), (3000,), ("purchased",), purchased=3000),
    ],
)
async def test_the_usual_goes_the_short_way(pool: asyncpg.Pool, twins: Twins, usual: Usual) -> None:
    account = await funded(pool, purchased=usual.purchased, promotional=usual.promotional)
    await begun(twins, account, usual.terms)
    asks = [Ask(account, (claim(twins.now, units, terms=usual.terms),), usual.amount) for units in usual.units]
    admitted = await twins.admit(asks)
    assert set(admitted["codes"]) == {"admitted"}
    assert tuple(admitted["amounts"]) == usual.amounts
    assert tuple(admitted["layers"]) == usual.layers
    ends = [End(ask.id, account, usual.amount, () if n else (ask.claims[0].units,)) for n, ask in enumerate(asks)]
    ended = await twins.end([*ends, End(new_id(), account, 0, None)])
    assert sum(ended["overages"]) + usual.amount * len(asks) == sum(usual.amounts)
    assert (twins.short, twins.long) == (2, 0)


async def test_more_is_used_than_was_claimed_and_the_next_request_sets_aside_what_lacks(
    pool: asyncpg.Pool, twins: Twins
) -> None:
    account, terms = await funded(pool, purchased=1000), (10, None, 1, 1)
    await begun(twins, account, terms)
    asks = [Ask(account, (claim(twins.now, 8, terms=terms),)) for _ in range(3)]
    assert (await twins.admit(asks))["amounts"] == [0, 6, 8]
    assert (await twins.end([End(asks[0].id, account, 0, (20,))]))["overages"] == [10]
    # 14 are set aside for 16 units that are all beyond the allowance now.
    assert (await twins.admit([Ask(account, (claim(twins.now, 1, terms=terms),))]))["amounts"] == [3]
    ended = await twins.end([End(asks[1].id, account, None, ()), End(asks[2].id, account, 0, (0,))])
    assert ended["freed"] == [16, 0]
    assert (twins.short, twins.long) == (4, 0)


@pytest.mark.parametrize(
    ("terms", "units", "code"),
    [((0, 4, 7, 1), (2, 3), "limit"), ((0, None, 50, 1), (1, 1, 1), "insufficient")],
)
async def test_one_too_many_goes_the_long_way(
    pool: asyncpg.Pool, twins: Twins, terms: Terms, units: tuple[int, ...], code: str
) -> None:
    account = await funded(pool, purchased=100)
    await begun(twins, account, terms)
    admitted = await twins.admit([Ask(account, (claim(twins.now, one, terms=terms),)) for one in units])
    assert admitted["codes"] == ["admitted"] * (len(units) - 1) + [code]
    assert (twins.short, twins.long) == (0, 1)


async def test_what_is_held_at_another_price_goes_the_long_way(pool: asyncpg.Pool, twins: Twins) -> None:
    account = await funded(pool, purchased=1000)
    await begun(twins, account, (0, None, 7, 1))
    first, second = (Ask(account, (claim(twins.now, 2, terms=(0, None, price, 1)),)) for price in (7, 5))
    await twins.admit([first])
    assert twins.short == 1
    await twins.admit([second])
    await twins.end([End(first.id, account, 0, (3,))])
    await twins.end([End(second.id, account, 0, (3,))])
    assert (twins.short, twins.long) == (1, 3)


async def test_the_same_id_again_goes_the_long_way(pool: asyncpg.Pool, twins: Twins) -> None:
    account = await funded(pool)
    await begun(twins, account)
    ask, other = (Ask(account, (claim(twins.now),)) for _ in range(2))
    await twins.admit([ask])
    assert (await twins.admit([other, ask]))["codes"] == ["admitted", "repeated"]
    await twins.end([End(ask.id, account, 0, (1,))])
    assert (await twins.admit([ask]))["codes"] == ["ended"]
    ended = await twins.end([End(other.id, account, 0, (1,)), End(ask.id, account, 0, (1,))])
    assert ended["priced"] == [True, False]
    assert (twins.short, twins.long) == (2, 3)


async def test_nobody_ends_the_hold_of_someone_else(pool: asyncpg.Pool, twins: Twins) -> None:
    account, other = await funded(pool), await funded(pool)
    await begun(twins, account)
    await begun(twins, other)
    ask = Ask(account, (claim(twins.now),))
    await twins.admit([ask, Ask(other, (claim(twins.now),))])
    assert (await twins.end([End(ask.id, other, 0, (1,))]))["priced"] == [False]
    assert (twins.short, twins.long) == (1, 1)


async def test_only_enough_money_decides_where_an_account_may_owe(pool: asyncpg.Pool, twins: Twins) -> None:
    """Down to the overdraft, which is for what costs more than was set aside."""
    account = await funded(pool, floor=-110, overdraft=40)
    terms = (0, None, 35, 1)
    await begun(twins, account, terms)
    admitted = await twins.admit([Ask(account, (claim(twins.now, 1, terms=terms),)) for _ in range(2)])
    assert (admitted["layers"], admitted["availables"]) == (["overage", "overage"], [70, 70])
    assert twins.short == 1
    assert (await twins.admit([Ask(account, (claim(twins.now, 1, terms=terms),))]))["codes"] == ["insufficient"]


async def test_units_are_one_for_each_claim(pool: asyncpg.Pool, twins: Twins) -> None:
    account = await funded(pool)
    await begun(twins, account)
    ask = Ask(account, (claim(twins.now),))
    await twins.admit([ask])
    with pytest.raises(asyncpg.InvalidParameterValueError, match="does not have 2 claims"):
        await twins.connection.fetchrow("select * from batch_price($1::end_entry[])", [(ask.id, account, 0, (1, 1))])
