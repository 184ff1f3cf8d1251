"""A batch: what one lane has collected for one call of post_batch, and who waits for which answer.

Columns instead of objects: an operation costs a few appends, and the columns go to the database as they are.
"""

from asyncio import Future
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from msgspec.structs import astuple

from tallystick.base.errors import InsufficientCreditsError, NotFound, TallystickError
from tallystick.ledger.account import Balance
from tallystick.reservations.hold import HoldConflict, HoldEnded, HoldNotFound
from tallystick.reservations.usage_record import UsageRecord

Column = list[Any]


class Step:
    """The operations of one kind in a batch, as columns; `amounts` are actuals where the step ends holds."""

    __slots__ = ("accounts", "amounts", "extras", "futures", "ids", "lives_s", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ids: list[UUID] = []
        self.accounts: list[int] = []
        self.amounts: list[int | None] = []
        self.lives_s: list[int] = []
        # The dispatcher of a reserve, the usage record of an end.
        self.extras: Column = []
        self.futures: list[Future[Any]] = []

    def part(self, start: int, stop: int) -> "Step":
        """The operations from `start` to before `stop`, as a step of their own."""
        part = Step(self.name)
        for column in ("ids", "accounts", "amounts", "lives_s", "extras", "futures"):
            setattr(part, column, getattr(self, column)[start:stop])
        return part


class Batch:
    """Operations on one lane, each id at most once."""

    __slots__ = ("deduct", "end", "extend", "places", "reserve")

    def __init__(self) -> None:
        self.end = Step("end")
        self.extend = Step("extend")
        self.reserve = Step("reserve")
        self.deduct = Step("deduct")
        # By the integer of the id, which hashes much faster than the UUID itself.
        self.places: dict[int, tuple[Step, int]] = {}

    def __len__(self) -> int:
        return len(self.places)

    @property
    def steps(self) -> tuple[Step, Step, Step, Step]:
        return self.end, self.extend, self.reserve, self.deduct

    @property
    def futures(self) -> Iterator["Future[Any]"]:
        """Every one who waits for an answer."""
        return (future for step in self.steps for future in step.futures)

    def add(
        self,
        step: Step,
        hold: UUID,
        account: int,
        amount: int | None,
        future: "Future[Any]",
        life_s: int = 0,
        extra: UUID | UsageRecord | None = None,
    ) -> None:
        self.places[hold.int] = step, len(step.ids)
        step.ids.append(hold)
        step.accounts.append(account)
        step.amounts.append(amount)
        step.lives_s.append(life_s)
        step.extras.append(extra)
        step.futures.append(future)

    def join(self, step: Step, hold: UUID, account: int, amount: int | None, future: "Future[Any]") -> bool:
        """Let `future` have the answer of the same operation that is already here; False when it is another one."""
        found, place = self.places[hold.int]
        if found.name != step.name or found.accounts[place] != account or found.amounts[place] != amount:
            return False
        first = found.futures[place]
        # A future that nobody awaits stands for all of them, so that one who is cancelled takes nobody along.
        shared = found.futures[place] = first.get_loop().create_future()
        for one in (first, future):
            shared.add_done_callback(partial(_copy_answer, one))
        return True

    def halves(self) -> tuple["Batch", "Batch"]:
        """This batch as two, to find the one operation that the database refuses."""
        left, right = Batch(), Batch()
        middle = len(self) // 2
        for name in ("end", "extend", "reserve", "deduct"):
            step: Step = getattr(self, name)
            cut = min(middle, len(step.ids))
            middle -= cut
            left._take(name, step.part(0, cut))
            right._take(name, step.part(cut, len(step.ids)))
        return left, right

    def _take(self, name: str, step: Step) -> None:
        setattr(self, name, step)
        self.places.update((hold.int, (step, place)) for place, hold in enumerate(step.ids))

    def arguments(self, lane: int, lanes: int) -> tuple[object, ...]:
        """The parameters of post_batch, in their order."""
        end, extend, reserve, deduct = self.steps
        usage = [astuple(record) for record in end.extras if record is not None]
        return (
            *(lane, lanes, end.ids, end.accounts, end.amounts, usage),
            *(extend.ids, extend.accounts, extend.amounts, extend.lives_s),
            *(reserve.ids, reserve.accounts, reserve.amounts, reserve.lives_s, reserve.extras),
            *(deduct.ids, deduct.accounts, deduct.amounts),
        )

    def answer(self, row: asyncpg.Record) -> None:
        """Tell everyone what the database answered: first the exceptions, then the many that simply succeeded."""
        accounts, posted, held, available, exceptions = row
        for exception in exceptions or ():
            self._answer_exception(*exception)
        balances = {}
        if accounts is not None:
            balances = dict(zip(accounts, map(Balance, posted, held, available), strict=True))
        for step in (self.end, self.deduct):
            for future, account in zip(step.futures, step.accounts, strict=True):
                # Done: it had its answer above, or its caller has given up.
                if not future.done():
                    future.set_result(balances[account])
        for step in (self.extend, self.reserve):
            for future in step.futures:
                if not future.done():
                    future.set_result(None)

    def _answer_exception(
        self, name: str, ordinal: int, code: str, posted: int | None, held: int | None, available: int | None
    ) -> None:
        step: Step = getattr(self, name)
        future = step.futures[ordinal - 1]
        if future.done():
            return
        if code != "repeated":
            future.set_exception(_refusal(step, ordinal - 1, code, available))
        elif posted is None or held is None or available is None:
            raise AssertionError("post_batch answered a repetition without its balance")
        else:
            future.set_result(None if step is self.reserve else Balance(posted, held, available))

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """Tell everyone that there is no answer; each gets an error of their own to raise."""
        for future in self.futures:
            if not future.done():
                future.set_exception(make_error())


def _refusal(step: Step, place: int, code: str, available: int | None) -> TallystickError:
    hold = step.ids[place]
    match code:
        case "insufficient":
            return InsufficientCreditsError(available or 0, step.amounts[place] or 0)
        case "conflict":
            return HoldConflict(f"{hold} was used before, with other content")
        case "ended":
            return HoldEnded(f"hold {hold} has ended")
        case "not_found":
            return HoldNotFound(f"there is no hold {hold}")
        case "no_account":
            return NotFound(f"there is no account {step.accounts[place]}")
        case _:
            raise AssertionError(f"post_batch answered {code}")


def _copy_answer(waiting: "Future[Any]", done: "Future[Any]") -> None:
    error = done.exception()
    if waiting.done():
        return
    if error is None:
        waiting.set_result(done.result())
    else:
        waiting.set_exception(error)
