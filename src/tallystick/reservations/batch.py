"""A batch: what one lane has collected for one call of post_batch, and who waits for which answer.

Columns instead of objects: an operation costs a few appends, and the columns go to the database as they are.
"""

from asyncio import Future
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from msgspec.structs import astuple, replace

from tallystick.base.errors import InsufficientCreditsError, NotFound, TallystickError
from tallystick.ledger.account import Balance
from tallystick.reservations import admit_step
from tallystick.reservations.claim import Admitted, Settled
from tallystick.reservations.hold import ClaimsUnknown, HoldConflict, HoldEnded, HoldNotFound
from tallystick.reservations.usage_record import UsageRecord

Column = list[Any]


class Step:
    """The operations of one kind in a batch, as columns; `amounts` are actuals where the step ends holds."""

    __slots__ = ("accounts", "amounts", "extras", "futures", "ids", "lives_s", "name", "units")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ids: list[UUID] = []
        self.accounts: list[int] = []
        self.amounts: list[int | None] = []
        self.lives_s: list[int] = []
        # The dispatcher of a reserve, the usage record of an end, all else of an admission.
        self.extras: Column = []
        # Of an end: what was used of each claim, () for as much as was claimed, None where no claims are known of.
        self.units: list[tuple[int, ...] | None] = []
        self.futures: list[Future[Any]] = []

    def part(self, start: int, stop: int) -> "Step":
        """The operations from `start` to before `stop`, as a step of their own."""
        part = Step(self.name)
        for column in ("ids", "accounts", "amounts", "lives_s", "extras", "units", "futures"):
            setattr(part, column, getattr(self, column)[start:stop])
        return part


class Batch:
    """Operations on one lane, each id at most once."""

    __slots__ = ("admit", "claims", "deduct", "end", "extend", "places", "reserve")

    def __init__(self) -> None:
        self.end = Step("end")
        self.extend = Step("extend")
        self.reserve = Step("reserve")
        self.deduct = Step("deduct")
        self.admit = Step("admit")
        # Whether any claim is made or ended, which a batch without them need not pay for.
        self.claims = False
        # By the integer of the id, which hashes much faster than the UUID itself.
        self.places: dict[int, tuple[Step, int]] = {}

    def __len__(self) -> int:
        return len(self.places)

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.end, self.extend, self.reserve, self.deduct, self.admit

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
        extra: UUID | UsageRecord | admit_step.Wanted | None = None,
        units: tuple[int, ...] | None = None,
    ) -> None:
        self.places[hold.int] = step, len(step.ids)
        step.ids.append(hold)
        step.accounts.append(account)
        step.amounts.append(amount)
        step.lives_s.append(life_s)
        step.extras.append(extra)
        step.units.append(units)
        step.futures.append(future)
        if units is not None or step is self.admit:
            self.claims = True

    def join(
        self,
        step: Step,
        hold: UUID,
        account: int,
        amount: int | None,
        future: "Future[Any]",
        extra: UUID | UsageRecord | admit_step.Wanted | None = None,
        units: tuple[int, ...] | None = None,
    ) -> bool:
        """Let `future` have the answer of the same operation that is already here; False when it is another one."""
        found, place = self.places[hold.int]
        if found.name != step.name or found.accounts[place] != account or found.amounts[place] != amount:
            return False
        if found.units[place] != units or (step is self.admit and found.extras[place] != extra):
            return False
        first = found.futures[place]
        # A future that nobody awaits stands for all of them, so that one who is cancelled takes nobody along.
        shared = found.futures[place] = first.get_loop().create_future()
        shared.add_done_callback(partial(_copy_answer, first))
        shared.add_done_callback(partial(_copy_answer, future, again=True))
        return True

    def halves(self) -> tuple["Batch", "Batch"]:
        """This batch as two, to find the one operation that the database refuses."""
        left, right = Batch(), Batch()
        middle = len(self) // 2
        for name in ("end", "extend", "reserve", "deduct", "admit"):
            step: Step = getattr(self, name)
            cut = min(middle, len(step.ids))
            middle -= cut
            left._take(name, step.part(0, cut))
            right._take(name, step.part(cut, len(step.ids)))
        return left, right

    def _take(self, name: str, step: Step) -> None:
        setattr(self, name, step)
        self.claims = self.claims or name == "admit" or any(units is not None for units in step.units)
        self.places.update((hold.int, (step, place)) for place, hold in enumerate(step.ids))

    def arguments(self, lane: int, lanes: int) -> tuple[object, ...]:
        """The parameters of post_batch, in their order; and those of post_batch_with_claims, where there are claims."""
        end, extend, reserve, deduct, _ = self.steps
        usage = [astuple(record) for record in end.extras if record is not None]
        return (
            *(lane, lanes, end.ids, end.accounts, end.amounts, usage),
            *(extend.ids, extend.accounts, extend.amounts, extend.lives_s),
            *(reserve.ids, reserve.accounts, reserve.amounts, reserve.lives_s, reserve.extras),
            *(deduct.ids, deduct.accounts, deduct.amounts),
            *(self._claims() if self.claims else ()),
        )

    def _claims(self) -> Iterator[object]:
        starts: list[int | None] = []
        units: list[int] = []
        for used in self.end.units:
            starts.append(None if used is None else len(units) + 1 if used else 0)
            # Led by how many they are, so that the units of another hold are never taken for this one's.
            units.extend((len(used), *used) if used else ())
        admit = self.admit
        yield from (starts, units, admit.ids, admit.accounts, admit.amounts, admit.lives_s)
        yield from admit_step.columns(admit.extras)

    def answer(self, row: asyncpg.Record) -> None:
        """Tell everyone what the database answered: first the exceptions, then the many that simply succeeded."""
        accounts, posted, held, available, exceptions = row[:5]
        overages = row["overages"] if self.claims else None
        for exception in exceptions or ():
            self._answer_exception(overages, *exception)
        balances = {}
        if accounts is not None:
            balances = dict(zip(accounts, map(Balance, posted, held, available), strict=True))
        for step in (self.end, self.deduct):
            for place, (future, account) in enumerate(zip(step.futures, step.accounts, strict=True)):
                # Done: it had its answer above, or its caller has given up.
                if not future.done():
                    future.set_result(_ended(step, place, balances[account], overages))
        for step in (self.extend, self.reserve):
            for future in step.futures:
                if not future.done():
                    future.set_result(None)
        if self.admit.ids:
            admit_step.answer(self.admit.ids, self.admit.extras, self.admit.futures, row)

    def _answer_exception(
        self,
        overages: list[int] | None,
        name: str,
        ordinal: int,
        code: str,
        posted: int | None,
        held: int | None,
        available: int | None,
    ) -> None:
        step: Step = getattr(self, name)
        future = step.futures[ordinal - 1]
        if future.done():
            return
        if code == "claims":
            future.set_exception(ClaimsUnknown())
        elif code != "repeated":
            future.set_exception(_refusal(step, ordinal - 1, code, available))
        elif posted is None or held is None or available is None:
            raise AssertionError("post_batch answered a repetition without its balance")
        else:
            balance = Balance(posted, held, available)
            future.set_result(None if step is self.reserve else _ended(step, ordinal - 1, balance, overages))

    def dispatched(self) -> Iterator[tuple[UUID, int]]:
        """The holds, with their accounts, that only their dispatcher can end. Others expire, or have an id that their
        caller asks with again: to release those could take back what was acknowledged before."""
        for step in (self.reserve, self.admit):
            for hold, account, extra in zip(step.ids, step.accounts, step.extras, strict=True):
                if (extra if step is self.reserve else extra[0]) is not None:
                    yield hold, account

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """Tell everyone that there is no answer; each gets an error of their own to raise."""
        for future in self.futures:
            if not future.done():
                future.set_exception(make_error())


def _ended(step: Step, place: int, balance: Balance, overages: list[int] | None) -> Balance | Settled:
    """What whoever ended a hold is told: its balance, and with claims the charge that became of it."""
    if overages is None or step.units[place] is None:
        return balance
    charge = (step.amounts[place] or 0) + overages[place]
    return Settled(
        charge=charge, overage=overages[place], posted=balance.posted, held=balance.held, available=balance.available
    )


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


def _copy_answer(waiting: "Future[Any]", done: "Future[Any]", *, again: bool = False) -> None:
    error = done.exception()
    if waiting.done():
        return
    if error is None:
        answer = done.result()
        # Of two who asked at once, one was first.
        waiting.set_result(replace(answer, repeated=True) if again and isinstance(answer, Admitted) else answer)
    else:
        waiting.set_exception(error)
