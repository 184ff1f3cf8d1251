"""A batch does what its operations would have done one after the other: ends, extensions, reserves, deductions."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from tallystick.base.errors import InsufficientCreditsError, TallystickError
from tallystick.base.ids import new_id
from tallystick.reservations.lanes import Lanes
from tests.laws.model import Books, Refused
from tests.laws.test_ledger_model import code_of
from tests.ledger.money import broken_laws, customer

ACCOUNTS = 3


@dataclass(frozen=True)
class Operation:
    """`hold` and `account` are numbers, not yet ids; an end without an amount is a release."""

    name: str
    hold: int
    account: int
    amount: int | None

    @property
    def number(self) -> int:
        least = 1 if self.name == "deduct" else 0
        return max(self.amount or 0, least)


def some_operation(chance: Random, hold: int) -> Operation:
    """Mostly on the account that the id belongs to; ids come again in later batches."""
    return Operation(
        name=chance.choice(["reserve", "reserve", "reserve", "end", "end", "end", "deduct", "extend"]),
        hold=hold,
        account=hold % ACCOUNTS if chance.random() < 0.9 else chance.randrange(ACCOUNTS),
        amount=chance.choice([None, 0, 5, chance.randint(1, 12), chance.randint(1, 40)]),
    )


def some_batch(chance: Random) -> list[Operation]:
    """An id stands in a batch once."""
    return [some_operation(chance, hold) for hold in chance.sample(range(30), chance.randint(1, 30))]


class World:
    """The real ledger and the model, with fresh accounts and ids."""

    def __init__(self, lanes: Lanes, seen: set[str]) -> None:
        self.lanes = lanes
        self.seen = seen
        self.books = Books()
        self.accounts: list[int] = []
        self.ids: dict[int, UUID] = {}

    async def open(self, connection: asyncpg.Connection, amounts: Sequence[int]) -> None:
        for place, amount in enumerate(amounts):
            floor = -5 * place
            account = await customer(connection, amount, floor=floor, overdraft=-floor // 2)
            self.books.open_account(account, floor, -floor // 2)
            self.books.accounts[account].posted = amount
            self.accounts.append(account)

    async def post(self, operations: Sequence[Operation]) -> None:
        expected = self.expect(operations)
        answers = await asyncio.gather(*map(self.doing, operations), return_exceptions=True)
        self.seen.update(answer[0] for answer in expected.values() if answer)
        assert {o.hold: answer_of(a) for o, a in zip(operations, answers, strict=True)} == expected

    def expect(self, operations: Sequence[Operation]) -> dict[int, Any]:
        """Apply them to the model in the order of a batch, and tell what each must be answered."""
        answers: dict[int, Any] = {}
        for step in ("end", "extend", "reserve", "deduct"):
            mine = [o for o in operations if o.name == step]
            for one in sorted(mine, key=self.excess) if step == "end" else mine:
                try:
                    self.apply(one)
                except Refused as refused:
                    answers[one.hold] = refused.code, refused.available
                else:
                    answers[one.hold] = None
        return answers

    def excess(self, one: Operation) -> tuple[int, UUID]:
        known = self.books.holds.get(self.id_of(one))
        return one.number - (known.amount if known else 0), self.id_of(one)

    def apply(self, one: Operation) -> None:
        hold, account = self.id_of(one), self.accounts[one.account]
        match one.name:
            case "end" if one.amount is None:
                self.books.release(hold, account)
            case "end":
                self.books.settle(hold, account, one.number)
            case "reserve":
                self.books.reserve(hold, account, one.number)
            case "extend":
                self.books.extend(hold, account, one.number)
            case "deduct":
                self.books.deduct(hold, account, one.number)

    async def doing(self, one: Operation) -> None:
        hold, account = self.id_of(one), self.accounts[one.account]
        match one.name:
            case "end" if one.amount is None:
                await self.lanes.release(hold, account)
            case "end":
                await self.lanes.settle(hold, account, one.number)
            case "reserve":
                await self.lanes.reserve(hold, account, one.number, expires_in_s=60)
            case "extend":
                await self.lanes.extend(hold, account, one.number, expires_in_s=60)
            case "deduct":
                await self.lanes.deduct(hold, account, one.number)

    def id_of(self, one: Operation) -> UUID:
        return self.ids.setdefault(one.hold, new_id())


def answer_of(answer: Any) -> Any:
    if isinstance(answer, InsufficientCreditsError):
        return "insufficient", answer.balance_nano
    if isinstance(answer, TallystickError):
        return code_of(answer), None
    if isinstance(answer, BaseException):
        raise answer
    return None


async def test_any_batches(connection: asyncpg.Connection, lanes: Lanes) -> None:
    seen: set[str] = set()
    for seed in range(60):
        chance = Random(seed)
        world = World(lanes, seen)
        await world.open(connection, [chance.randint(0, 150) for _ in range(ACCOUNTS)])
        for _ in range(5):
            await world.post(some_batch(chance))
            await stands_like_the_model(connection, world.books)
        seen.update("shortfall" for hold in world.books.holds.values() if hold.shortfall)
        assert await broken_laws(connection) == {}, f"with seed {seed}"
    # The batches were worth trying only if they were refused in every way.
    assert seen == {"insufficient", "conflict", "ended", "not_found", "shortfall"}


async def stands_like_the_model(connection: asyncpg.Connection, books: Books) -> None:
    accounts = await connection.fetch(
        "select id, posted, held from ledger_account where id = any($1)", list(books.accounts)
    )
    assert {row["id"]: (row["posted"], row["held"]) for row in accounts} == {
        account: (owner.posted, owner.held) for account, owner in books.accounts.items()
    }
    holds = await connection.fetch(
        "select id, state, amount, actual from hold where account = any($1)", list(books.accounts)
    )
    assert {row["id"]: (row["state"], row["amount"], row["actual"]) for row in holds} == {
        id_: (hold.state, hold.amount, hold.actual) for id_, hold in books.holds.items()
    }
    shortfalls = await connection.fetch(
        "select operation, amount from transfer where kind = 'shortfall' and operation = any($1)", list(books.holds)
    )
    assert {row["operation"]: row["amount"] for row in shortfalls} == {
        id_: hold.shortfall for id_, hold in books.holds.items() if hold.shortfall
    }
