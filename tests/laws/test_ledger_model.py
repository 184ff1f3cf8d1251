"""Any sequence of operations: the ledger answers and stands as the model does, and every law holds after each step."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from tallystick.base.errors import Conflict, InsufficientCreditsError, NotFound, TallystickError
from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance, open_account
from tallystick.ledger.lot import lots
from tallystick.ledger.read import balance, history
from tallystick.ledger.reverse import reversal_of, reverse
from tallystick.reservations.hold import HoldEnded
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.sweep import Sweeper
from tests.laws.model import Books, Refused
from tests.ledger.money import broken_laws, give

amounts = st.one_of(st.integers(0, 50), st.sampled_from([1, 10, 1_000, 10**15]))
positive = amounts.map(lambda amount: max(amount, 1))
long_ago = datetime(2020, 1, 1, tzinfo=UTC)
far_off = datetime(2100, 1, 1, tzinfo=UTC)


class LedgerMachine(RuleBasedStateMachine):
    dsn: str
    accounts = Bundle("accounts")
    holds = Bundle("holds")
    operations = Bundle("operations")

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.runner = asyncio.Runner()
        self.days = 0
        self.run(self.start())

    async def start(self) -> None:
        self.pool = await asyncpg.create_pool(self.dsn, min_size=1, max_size=2)
        self.connection = await self.pool.acquire()
        self.lanes = Lanes(self.dsn)
        await self.lanes.start()
        self.sweeper = Sweeper(self.pool, young_s=0)

    async def stop(self) -> None:
        await self.lanes.stop()
        await self.pool.release(self.connection)
        await self.pool.close()

    def teardown(self) -> None:
        self.run(self.stop())
        self.runner.close()

    def run(self, doing: Awaitable[Any]) -> Any:
        async def do() -> Any:
            return await doing

        return self.runner.run(do())

    def both(self, doing: Awaitable[Any], model: Callable[..., None], *arguments: Any) -> Any:
        """Do it in both worlds: they must refuse the same, with the same numbers."""
        refused = refusal(model, *arguments)
        if refused is None:
            return self.run(doing)
        with pytest.raises(TallystickError) as caught:
            self.run(doing)
        assert code_of(caught.value) == refused.code
        if isinstance(caught.value, InsufficientCreditsError):
            assert caught.value.balance_nano == refused.available
        return None

    def expect(self, account: int, answer: Balance | None) -> None:
        if answer is not None:
            owner = self.books.accounts[account]
            assert answer == Balance(owner.posted, owner.held, owner.available)

    @initialize(target=accounts)
    def first_accounts(self) -> Any:
        return multiple(self.opened(0, 0), self.opened(-30, 30))

    @rule(target=accounts, floor=st.integers(-100, 0), share=st.floats(0, 1))
    def open_account(self, floor: int, share: float) -> int:
        return self.opened(floor, int(-floor * share))

    def opened(self, floor: int, overdraft: int) -> int:
        account: int = self.run(open_account(self.connection, floor=floor, overdraft=overdraft))
        self.books.open_account(account, floor, overdraft)
        return account

    @rule(target=operations, account=accounts, amount=positive, priority=st.integers(0, 1), expires=st.booleans())
    def grant(self, account: int, amount: int, priority: int, expires: bool) -> UUID:
        self.days += 1
        expires_at = far_off - timedelta(days=self.days * 7 % 10) if expires else None
        operation = new_id()
        self.give(operation, account, amount, "promotional", priority, expires_at)
        return operation

    @rule(target=operations, account=accounts, amount=positive)
    def purchase(self, account: int, amount: int) -> UUID:
        operation = new_id()
        self.give(operation, account, amount, "purchased", 0, None)
        return operation

    @rule(operation=operations, account=accounts, amount=positive)
    def give_again(self, operation: UUID, account: int, amount: int) -> None:
        was = self.books.grants[operation]
        self.give(operation, account, amount, was.kind, was.priority, None)
        self.give(operation, was.account, was.amount, was.kind, was.priority, None)

    def give(
        self, operation: UUID, account: int, amount: int, kind: str, priority: int, expires_at: datetime | None
    ) -> None:
        doing = give(
            self.connection, account, amount, kind=kind, priority=priority, expires_at=expires_at, operation=operation
        )
        self.both(doing, self.books.give, operation, account, amount, kind, priority, expires_at)

    @rule(target=holds, account=accounts, amount=amounts)
    def reserve(self, account: int, amount: int) -> UUID:
        hold = new_id()
        self.both(
            self.lanes.reserve(hold, account, amount, expires_in_s=600), self.books.reserve, hold, account, amount
        )
        return hold

    @rule(hold=holds, account=accounts, amount=amounts)
    def reserve_again(self, hold: UUID, account: int, amount: int) -> None:
        known = self.books.holds.get(hold)
        for owner, again in ((account, amount), (known.account, known.amount) if known else (account, amount)):
            self.both(self.lanes.reserve(hold, owner, again, expires_in_s=600), self.books.reserve, hold, owner, again)

    @rule(hold=holds, actual=amounts, stranger=st.booleans(), account=accounts)
    def settle(self, hold: UUID, actual: int, stranger: bool, account: int) -> None:
        account = self.owner(hold, account, stranger)
        self.expect(
            account, self.both(self.lanes.settle(hold, account, actual), self.books.settle, hold, account, actual)
        )

    @rule(hold=holds, stranger=st.booleans(), account=accounts)
    def release(self, hold: UUID, stranger: bool, account: int) -> None:
        account = self.owner(hold, account, stranger)
        self.expect(account, self.both(self.lanes.release(hold, account), self.books.release, hold, account))

    @rule(hold=holds, amount=amounts, account=accounts)
    def extend(self, hold: UUID, amount: int, account: int) -> None:
        account = self.owner(hold, account, stranger=False)
        doing = self.lanes.extend(hold, account, amount, expires_in_s=600)
        self.both(doing, self.books.extend, hold, account, amount)

    @rule(target=holds, account=accounts, amount=positive)
    def deduct(self, account: int, amount: int) -> UUID:
        hold = new_id()
        self.expect(
            account, self.both(self.lanes.deduct(hold, account, amount), self.books.deduct, hold, account, amount)
        )
        return hold

    @rule(hold=holds, account=accounts, amount=positive)
    def deduct_again(self, hold: UUID, account: int, amount: int) -> None:
        known = self.books.holds.get(hold)
        for owner, again in ((account, amount), (known.account, known.amount) if known else (account, amount)):
            if again:
                self.both(self.lanes.deduct(hold, owner, again), self.books.deduct, hold, owner, again)

    def owner(self, hold: UUID, account: int, stranger: bool) -> int:
        known = self.books.holds.get(hold)
        return account if stranger or known is None else known.account

    @rule(hold=holds)
    def expire(self, hold: UUID) -> None:
        known = self.books.holds.get(hold)
        if known is None or known.state != "open":
            return
        self.run(
            self.connection.execute("update hold set expires_at = created_at + interval '1 us' where id = $1", hold)
        )
        assert self.run(self.sweeper.sweep()).expired == 1
        self.books.expire(hold)

    @rule(operation=operations)
    def lot_falls_due(self, operation: UUID) -> None:
        (lot,) = (lot for lot in self.books.lots if lot.id == operation)
        if lot.expires_at is None or lot.due:
            return
        # Moving an expiry changes the burn order, so what was spent until now burns first.
        self.read_lots(lot.account)
        lot.expires_at, lot.due = long_ago + timedelta(days=lot.order), True
        self.run(self.connection.execute("update lot set expires_at = $2 where id = $1", operation, lot.expires_at))

    @rule(original=st.one_of(operations, holds))
    def reverse(self, original: UUID) -> None:
        before = {account: owner.posted for account, owner in self.books.accounts.items()}
        self.both(self.reversing(original), self.books.reverse, original)
        for lot in self.books.lots:
            if lot.id == original and lot.kind == "restored":
                lot.id = uuid5(reversal_of(original), str(lot.account))
        for account, owner in self.books.accounts.items():
            if owner.posted != before[account]:
                newest = self.run(history(self.connection, account, limit=1))[0]
                assert (newest.kind, newest.amount) == ("reversal", owner.posted - before[account])

    async def reversing(self, original: UUID) -> bool:
        async with self.connection.transaction():
            return await reverse(self.connection, original)

    @rule(account=accounts)
    def read_balance(self, account: int) -> None:
        self.books.expire_lots(account)
        self.expect(account, self.run(balance(self.connection, account)))

    @rule(account=accounts)
    def read_lots(self, account: int) -> None:
        self.books.expire_lots(account)
        assert [(lot.id, lot.remaining) for lot in self.run(lots(self.connection, account))] == self.books.remaining(
            account
        )

    @invariant()
    def stands_like_the_model(self) -> None:
        rows = self.run(
            self.connection.fetch(
                "select id, posted, held from ledger_account where id = any($1)", list(self.books.accounts)
            )
        )
        assert {row["id"]: (row["posted"], row["held"]) for row in rows} == {
            account: (owner.posted, owner.held) for account, owner in self.books.accounts.items()
        }

    @invariant()
    def keeps_the_laws(self) -> None:
        assert self.run(broken_laws(self.connection)) == {}


def refusal(model: Callable[..., None], *arguments: Any) -> Refused | None:
    try:
        model(*arguments)
    except Refused as refused:
        return refused
    return None


def code_of(error: TallystickError) -> str:
    match error:
        case InsufficientCreditsError():
            return "insufficient"
        case HoldEnded():
            return "ended"
        case Conflict():
            return "conflict"
        case NotFound():
            return "not_found"
    return error.code


def test_any_sequence_of_operations(dsn: str) -> None:
    machine = type("Machine", (LedgerMachine,), {"dsn": dsn})
    run_machine(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            database=None,
        ),
    )
