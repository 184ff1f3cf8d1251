"""Any batches of admissions, ends and plain operations: answered and counted as the pure waterfall says, one by one."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from tallystick.base.errors import InsufficientCreditsError, QuotaExceeded, TallystickError
from tallystick.base.ids import new_id
from tallystick.constraints.constraints import MeterConstraint
from tallystick.constraints.verdict import Verdict
from tallystick.ledger.account import open_account
from tallystick.reservations.claim import Admitted, Settled
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.sweep import Sweeper
from tests.laws.claims_model import ClaimBooks, Plan, Taken
from tests.laws.model import Refused
from tests.laws.test_ledger_model import code_of
from tests.ledger.money import broken_laws, give

METERS = ("requests", "input_tokens", "dollars")
FEATURES = ("ad_generations", "site_scans")
FLOORS = ((0, 0), (-30, 30), (-50, 0), (-40, 10), (0, 0))


@dataclass(frozen=True)
class Operation:
    """Numbers that become an account, a hold and claims when their turn comes."""

    name: str
    hold: int
    account: int
    amount: int
    units: tuple[int | None, ...]
    uses: tuple[int | None, ...]
    counted: bool
    differently: bool


NAMES = (
    *(["admit"] * 8 + ["again"] * 3 + ["settle"] * 4 + ["plain_settle"] + ["release"] * 2),
    *("reserve", "deduct", "extend"),
)


def some_number(chance: Random) -> int:
    return chance.choice([0, 1, chance.randint(0, 6), chance.randint(0, 60), 10**12])


def some_operation(chance: Random) -> Operation:
    return Operation(
        name=chance.choice(NAMES),
        hold=chance.randrange(1000),
        account=chance.randrange(len(FLOORS)),
        amount=chance.choice([0, 0, some_number(chance)]),
        units=tuple(chance.choice([None, chance.randint(0, 9), some_number(chance)]) for _ in METERS),
        uses=tuple(chance.choice([None, None, chance.randint(1, 3)]) for _ in FEATURES),
        counted=chance.random() < 0.3,
        differently=chance.random() < 0.2,
    )


caps = st.one_of(st.none(), st.integers(0, 40), st.sampled_from([0, 1, 10**13]))
meters = st.tuples(
    *(
        st.builds(
            MeterConstraint,
            meter=st.just(name),
            allowance=st.one_of(st.integers(0, 20), st.sampled_from([0, 4 * 10**18])),
            cap=caps,
            price=st.integers(0, 9),
            per=st.integers(1, 7),
        )
        for name in METERS
    )
)
plans = st.builds(
    Plan,
    meters=meters,
    quotas=st.fixed_dictionaries({name: st.one_of(st.none(), st.integers(0, 8)) for name in FEATURES}),
)


class ClaimsMachine(RuleBasedStateMachine):
    dsn: str
    seen: set[str]

    def __init__(self) -> None:
        super().__init__()
        self.books = ClaimBooks()
        self.accounts: list[int] = []
        self.ids: list[UUID] = []
        self.runner = asyncio.Runner()
        self.run(self.start())

    def run(self, doing: Awaitable[Any]) -> Any:
        async def do() -> Any:
            return await doing

        return self.runner.run(do())

    async def start(self) -> None:
        self.pool = await asyncpg.create_pool(self.dsn, min_size=1, max_size=2)
        self.connection = await self.pool.acquire()
        self.lanes = Lanes(self.dsn)
        await self.lanes.start()

    def teardown(self) -> None:
        self.run(self.stop())
        self.runner.close()

    async def stop(self) -> None:
        await self.lanes.stop()
        await self.pool.release(self.connection)
        await self.pool.close()

    @initialize(bought=st.lists(plans, min_size=len(FLOORS), max_size=len(FLOORS)))
    def open_accounts(self, bought: list[Plan]) -> None:
        for (floor, overdraft), plan in zip(FLOORS, bought, strict=True):
            account = self.run(open_account(self.connection, floor=floor, overdraft=overdraft))
            self.books.open_account(account, floor, overdraft)
            self.books.plans[account] = plan
            self.accounts.append(account)

    @rule(account=st.integers(0, len(FLOORS) - 1), amount=st.integers(1, 200), promotional=st.booleans())
    def give(self, account: int, amount: int, promotional: bool) -> None:
        kind, operation = "promotional" if promotional else "purchased", new_id()
        self.run(give(self.connection, self.accounts[account], amount, kind=kind, operation=operation))
        self.books.give(operation, self.accounts[account], amount, kind, 0, None)

    @rule(account=st.integers(0, len(FLOORS) - 1), plan=plans)
    def change_the_plan(self, account: int, plan: Plan) -> None:
        self.books.plans[self.accounts[account]] = plan

    @rule(hours=st.sampled_from([1, 9 * 24, 31 * 24]))
    def time_passes(self, hours: int) -> None:
        by = timedelta(hours=hours)
        self.run(self.connection.execute("update feature_use set at = at - $1::interval", by))
        self.run(self.connection.execute("update feature_counter set last_at = last_at - $1::interval", by))
        moved = "expires_at = case when created_at = expires_at then expires_at - $1::interval else expires_at end"
        self.run(self.connection.execute(f"update hold set created_at = created_at - $1::interval, {moved}", by))
        self.books.move_time(by)

    @rule(every=st.integers(1, 4))
    def expire(self, every: int) -> None:
        due = [id_ for id_, hold in self.books.holds.items() if hold.state == "open"][::every]
        query = "update hold set expires_at = created_at + interval '1 us' where id = any($1)"
        self.run(self.connection.execute(query, due))
        assert self.run(Sweeper(self.pool, young_s=-1).sweep()).expired == len(due)
        for id_ in due:
            self.books.expire(id_)

    @rule(size=st.integers(1, 40), seed=st.integers(0, 2**32))
    def post(self, size: int, seed: int) -> None:
        """Operations by chance: as many of them, drawn one by one, hardly ever come again to what was there before."""
        chance = Random(seed)
        steps = self.resolve([some_operation(chance) for _ in range(size)])
        expected = expect(self.books, steps)
        answers = self.run(gather([step.doing(self.lanes) for step in steps]))
        self.run(self.read_times())
        for step, answer in zip(steps, answers, strict=True):
            told = told_of(answer)
            assert any(same(told, wanted) for wanted in expected[step.hold]), (step, told, expected[step.hold])
            self.seen.add(f"{step.name} {told[0]}")

    def resolve(self, asked: Sequence[Operation]) -> "list[Step]":
        steps: dict[UUID, Step] = {}
        for one in asked:
            step = self.step(one)
            # An id stands in a batch once.
            steps.setdefault(step.hold, step)
        return list(steps.values())

    def step(self, one: Operation) -> "Step":
        account, books = self.accounts[one.account], self.books
        fresh = one.name in ("admit", "reserve", "deduct") or not self.ids
        # Mostly what has claims, and mostly of late.
        claiming = [id_ for id_ in reversed(self.ids) if id_ in books.taken and (one.hold % 3 or books.is_open(id_))]
        known_ids = claiming if claiming and one.hold % 5 else self.ids
        hold = new_id() if fresh else known_ids[one.hold % len(known_ids)]
        if fresh:
            self.ids.append(hold)
        known, taken = books.holds.get(hold), books.taken.get(hold)
        if known is not None and not one.differently:
            account = known.account
        if one.name == "again" and taken is not None and not one.differently:
            return Step("admit", hold, account, taken.amount, replace(taken, used=[], overage=0), taken.counted)
        if one.name in ("admit", "again"):
            uses = {name: n for name, n in zip(FEATURES, one.uses, strict=True) if n}
            counted = one.counted and bool(uses)
            units = {} if counted else {name: n for name, n in zip(METERS, one.units, strict=True) if n is not None}
            amount = 0 if counted else one.amount
            wanted = books.wanted(account, amount, units, uses)
            if wanted.claims:
                return Step("admit", hold, account, amount, wanted, counted)
            return Step("deduct", new_id(), account, max(amount, 1))
        used: tuple[int, ...] = ()
        if one.name == "settle" and taken is not None and one.differently is False:
            used = tuple(
                claimed if n is None else n
                for (_, claimed), n in zip(taken.meters, (*one.units, *one.units), strict=False)
            )
        name = "plain_settle" if one.name == "settle" and taken is None else one.name
        return Step(name, hold, account, max(one.amount, 1) if name == "deduct" else one.amount, taken, used=used)

    async def read_times(self) -> None:
        rows = await self.connection.fetch("select account, feature, hold, at from feature_use")
        at = {(row["account"], row["feature"], row["hold"]): row["at"] for row in rows}
        for (account, feature), window in self.books.windows.items():
            for one in window:
                one.at = at[account, feature, one.hold]

    @invariant()
    def stands_like_the_model(self) -> None:
        self.run(stands_like_the_model(self.connection, self.books))

    @invariant()
    def keeps_the_laws(self) -> None:
        assert self.run(broken_laws(self.connection)) == {}


@dataclass
class Step:
    """One call, as the lanes are asked and as the model is."""

    name: str
    hold: UUID
    account: int
    amount: int
    taken: Taken | None = None
    counted: bool = False
    used: tuple[int, ...] = ()

    async def doing(self, lanes: Lanes) -> object:
        hold, account = self.hold, self.account
        match self.name:
            case "admit":
                assert self.taken is not None
                return await lanes.admit(
                    hold, account, self.amount, self.taken.claims, expires_in_s=3600, counted=self.counted
                )
            case "settle":
                assert self.taken is not None
                # What is told of features is not read.
                units = (*(0 for _ in self.taken.features), *self.used) if self.used else ()
                return await lanes.settle_claims(hold, account, self.amount, units)
            case "plain_settle":
                return await lanes.settle(hold, account, self.amount)
            case "release":
                return await lanes.release(hold, account)
            case "reserve":
                await lanes.reserve(hold, account, self.amount, expires_in_s=3600)
            case "deduct":
                return await lanes.deduct(hold, account, self.amount)
            case "extend":
                await lanes.extend(hold, account, self.amount, expires_in_s=3600)
        return None


Told = tuple[Any, ...]


def expect(books: ClaimBooks, steps: Sequence[Step]) -> dict[UUID, list[Told]]:
    """Apply them in the order in which a batch does, and tell what each may be answered."""
    expected: dict[UUID, list[Told]] = {}
    ends = [step for step in steps if step.name in ("settle", "plain_settle", "release")]
    # Who does not tell of the claims is asked again, for the batch after this one.
    late = [step for step in ends if step.name != "settle" and may_end_claims(books, step)]
    end(books, [step for step in ends if step not in late], expected)
    for name in ("extend", "reserve", "deduct"):
        for step in steps:
            if step.name == name:
                expected[step.hold] = [attempt(getattr(books, name), step.hold, step.account, step.amount)]
    admit(books, [step for step in steps if step.name == "admit"], expected)
    end(books, late, expected)
    return expected


def may_end_claims(books: ClaimBooks, step: Step) -> bool:
    known, taken = books.holds.get(step.hold), books.taken.get(step.hold)
    if known is None or taken is None or known.account != step.account:
        return False
    return known.state in ("open", "settled")


def end(books: ClaimBooks, steps: Sequence[Step], expected: dict[UUID, list[Told]]) -> None:
    """All claims first, in order; then the money, beginning with the ends that free most."""
    charged: dict[UUID, int] = {}
    freed: dict[UUID, int] = {}
    first: dict[tuple[int, str], UUID] = {}
    for step in steps:
        taken = books.taken.get(step.hold)
        if taken is not None and may_end_claims(books, step) and books.is_open(step.hold):
            for rule_, _ in taken.meters:
                first.setdefault((step.account, rule_.meter), step.hold)
        if step.name == "release":
            books.give_back(step.hold, step.account)
        charged[step.hold] = (
            0 if step.name == "release" else books.price(step.hold, step.account, step.amount, step.used)
        )
    for (account, meter), hold in first.items():
        freed[hold] = freed.get(hold, 0) + books.free(account, meter)

    def excess(step: Step) -> tuple[int, UUID]:
        known = books.holds.get(step.hold)
        return charged[step.hold] - (known.amount if known else 0) - freed.get(step.hold, 0), step.hold

    for step in sorted(steps, key=excess):
        books.accounts[step.account].held -= freed.get(step.hold, 0)
        if step.name == "release":
            expected[step.hold] = [attempt(books.release, step.hold, step.account)]
            continue
        told = attempt(books.settle, step.hold, step.account, charged[step.hold])
        if told[0] == "done" and step.name == "settle":
            told = ("settled", charged[step.hold], books.taken[step.hold].overage)
        expected[step.hold] = [told]


def admit(books: ClaimBooks, steps: Sequence[Step], expected: dict[UUID, list[Told]]) -> None:
    """Who would be refused even alone is refused; all others in their order. With an id that was seen before in the
    batch, all are decided in their order, account by account."""
    alone: dict[UUID, Verdict] = {}
    if not any(step.hold in books.holds for step in steps):
        for step in steps:
            assert step.taken is not None
            verdict = books.decide(step.account, step.taken)
            if not verdict.admitted:
                alone[step.hold] = verdict
                expected[step.hold] = [told_by(books, step, verdict)]
    for step in sorted(steps, key=lambda step: step.account):
        if step.hold in alone:
            continue
        assert step.taken is not None
        try:
            verdict_ = books.admit(step.hold, step.account, step.taken, step.counted)
        except Refused as refused:
            expected[step.hold] = [(refused.code,)]
        else:
            expected[step.hold] = [told_by(books, step, verdict_)]
    for step in steps:
        if step.hold in alone:
            assert step.taken is not None
            now = books.decide(step.account, step.taken)
            expected[step.hold] += [("limit", *expected[step.hold][0][1:5], now.retry_at)]


def told_by(books: ClaimBooks, step: Step, verdict: Verdict | None) -> Told:
    assert step.taken is not None
    if verdict is None:
        return ("repeated",)
    if verdict.admitted:
        return ("admitted", verdict.layer, max(0, verdict.amount), books.taken_after(step.account, step.taken))
    if verdict.name in ("credits", "credit_limit"):
        return ("insufficient", books.accounts[step.account].available)
    return ("limit", verdict.layer, verdict.name, verdict.limit, verdict.used, verdict.retry_at)


def told_of(answer: object) -> Told:
    if isinstance(answer, Admitted):
        return ("repeated",) if answer.repeated else ("admitted", answer.layer, answer.amount, answer.used)
    if isinstance(answer, Settled):
        return ("settled", answer.charge, answer.overage)
    if isinstance(answer, QuotaExceeded):
        return ("limit", answer.layer, answer.name, answer.limit, answer.used, answer.retry_at)
    if isinstance(answer, InsufficientCreditsError):
        return ("insufficient", answer.balance_nano)
    if isinstance(answer, TallystickError):
        return (code_of(answer),)
    if isinstance(answer, BaseException):
        raise answer
    return ("done",)


def attempt(model: Any, *arguments: Any) -> Told:
    try:
        model(*arguments)
    except Refused as refused:
        return (refused.code,) if refused.available is None else (refused.code, refused.available)
    return ("done",)


def same(told: Told, wanted: Told) -> bool:
    """The model reads its clock a moment before the database does."""
    if told[0] == wanted[0] == "limit" and isinstance(told[5], datetime) and isinstance(wanted[5], datetime):
        return told[:5] == wanted[:5] and abs(told[5] - wanted[5]) < timedelta(minutes=5)
    return told == wanted


async def gather(doing: Sequence[Awaitable[object]]) -> Sequence[object]:
    return await asyncio.gather(*doing, return_exceptions=True)


async def stands_like_the_model(connection: asyncpg.Connection, books: ClaimBooks) -> None:
    mine = list(books.accounts)
    rows = await connection.fetch("select id, posted, held, floor from ledger_account where id = any($1)", mine)
    assert {row["id"]: (row["posted"], row["held"]) for row in rows} == {
        account: (owner.posted, owner.held) for account, owner in books.accounts.items()
    }
    assert all(row["posted"] - row["held"] >= row["floor"] for row in rows)
    rows = await connection.fetch("select * from hold where account = any($1)", mine)
    assert {row["id"]: (row["state"], row["amount"], row["actual"], row["claims"] is not None) for row in rows} == {
        id_: (hold.state, hold.amount, hold.actual, id_ in books.taken) for id_, hold in books.holds.items()
    }
    rows = await connection.fetch("select * from meter_counter where account = any($1)", mine)
    assert {(row["account"], row["meter"]): (row["used"], row["held"], row["pending"]) for row in rows} == {
        key: (counter.used, counter.held, counter.pending) for key, counter in books.counters.items()
    }
    rows = await connection.fetch(
        "select account, feature, feature_used(account, feature, clock_timestamp()) as used"
        " from feature_counter where account = any($1)",
        mine,
    )
    assert {(row["account"], row["feature"]): row["used"] for row in rows} == {
        key: books.in_window(*key) for key in books.windows
    }
    rows = await connection.fetch("select account, feature, hold, units from feature_use where account = any($1)", mine)
    assert sorted(tuple(row) for row in rows) == sorted(
        (account, feature, one.hold, one.units)
        for (account, feature), window in books.windows.items()
        for one in window
    )


def test_any_batches_with_claims(dsn: str) -> None:
    seen: set[str] = set()
    machine = type("Machine", (ClaimsMachine,), {"dsn": dsn, "seen": seen})
    run_machine(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            database=None,
        ),
    )
    # The batches were worth trying only if they were answered in every way.
    assert seen >= {"admit admitted", "admit repeated", "admit limit", "admit insufficient", "admit conflict"}
    assert seen >= {"settle settled", "release done"}
