"""A batch: what one lane has collected for one call of post_batch, and who waits for which answer.

An operation is an entry, a tuple that goes to the database as it is: (id, account, amount, expires_in_s, dispatcher) of
a reserve, an extension or a deduction, (id, account, actual, units) of an end, and an admission's is a reserve's with
`counted` behind it. The types of revision 0005 say what their fields mean.
"""

from asyncio import Future
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal
from uuid import UUID

import asyncpg
from msgspec.structs import astuple, replace

from tallystick.base.errors import InsufficientCreditsError, NotFound, TallystickError
from tallystick.ledger.account import Balance
from tallystick.reservations import admit_step
from tallystick.reservations.claim import Admitted, AnyClaim, Settled
from tallystick.reservations.hold import ClaimsUnknown, HoldConflict, HoldEnded, HoldNotFound
from tallystick.reservations.usage_record import UsageRecord

Entry = tuple[Any, ...]
Extra = UsageRecord | tuple[AnyClaim, ...] | None
StepName = Literal["end", "extend", "reserve", "deduct", "admit"]
Operation = tuple[StepName, Entry, "Future[Any]", Extra]


class Step:
    """The operations of one kind in a batch."""

    __slots__ = ("entries", "extras", "futures", "name")

    def __init__(self, name: StepName) -> None:
        self.name: StepName = name
        self.entries: list[Entry] = []
        # The usage record of an end, the claims of an admission.
        self.extras: list[Any] = []
        self.futures: list[Future[Any]] = []


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

    def operations(self) -> Iterator[Operation]:
        """All of them, to be added to other batches."""
        for step in self.steps:
            for entry, future, extra in zip(step.entries, step.futures, step.extras, strict=True):
                yield step.name, entry, future, extra

    def add(self, step: Step, entry: Entry, future: "Future[Any]", extra: Extra = None) -> None:
        self.places[entry[0].int] = step, len(step.entries)
        step.entries.append(entry)
        step.extras.append(extra)
        step.futures.append(future)
        if step is self.admit or (step is self.end and entry[3] is not None):
            self.claims = True

    def join(self, step: Step, entry: Entry, future: "Future[Any]", extra: Extra = None) -> bool:
        """Let `future` have the answer of the same operation that is already here; False when it is another one."""
        found, place = self.places[entry[0].int]
        if found is not step:
            return False
        there = found.entries[place]
        if there[:3] != entry[:3]:
            return False
        if step is self.end and there[3] != entry[3]:
            return False
        if step is self.admit and (there[4:] != entry[4:] or found.extras[place] != extra):
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
        for number, (name, entry, future, extra) in enumerate(self.operations()):
            half = left if number < len(self) // 2 else right
            half.add(getattr(half, name), entry, future, extra)
        return left, right

    def arguments(self, lane: int | None, lanes: int) -> tuple[object, ...]:
        """The parameters of post_batch, in their order."""
        usage = [astuple(record) for record in self.end.extras if record is not None]
        return (
            *(lane, lanes, self.end.entries, usage),
            *(self.extend.entries, self.reserve.entries, self.deduct.entries),
            *((self.admit.entries, admit_step.claims(self.admit.extras)) if self.claims else (None, None)),
        )

    def answer(self, row: asyncpg.Record) -> None:
        """Tell everyone what the database answered: first the exceptions, then the many that simply succeeded."""
        accounts, posted, held, available, exceptions, overages = row[:6]
        for exception in exceptions or ():
            self._answer_exception(overages, *exception)
        balances = {}
        if accounts is not None:
            balances = dict(zip(accounts, map(Balance, posted, held, available), strict=True))
        for step in (self.end, self.deduct):
            for place, (future, entry) in enumerate(zip(step.futures, step.entries, strict=True)):
                # Done: it had its answer above, or its caller has given up.
                if not future.done():
                    future.set_result(_ended(step, place, balances[entry[1]], overages))
        for step in (self.extend, self.reserve):
            for future in step.futures:
                if not future.done():
                    future.set_result(None)
        if self.admit.entries:
            admit_step.answer(self.admit.entries, self.admit.extras, self.admit.futures, row)

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
            future.set_exception(_refusal(step.entries[ordinal - 1], code, available))
        elif posted is None or held is None or available is None:
            raise AssertionError("post_batch answered a repetition without its balance")
        else:
            balance = Balance(posted, held, available)
            future.set_result(None if step is self.reserve else _ended(step, ordinal - 1, balance, overages))

    def dispatched(self) -> Iterator[tuple[UUID, int]]:
        """The holds, with their accounts, that only their dispatcher can end. Others expire, or have an id that their
        caller asks with again: to release those could take back what was acknowledged before."""
        for step in (self.reserve, self.admit):
            for hold, account, _, _, dispatcher, *_ in step.entries:
                if dispatcher is not None:
                    yield hold, account

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """Tell everyone that there is no answer; each gets an error of their own to raise."""
        for future in self.futures:
            if not future.done():
                future.set_exception(make_error())


def _ended(step: Step, place: int, balance: Balance, overages: list[int] | None) -> Balance | Settled:
    """What whoever ended a hold is told: its balance, and with claims the charge that became of it."""
    entry = step.entries[place]
    if overages is None or step.name != "end" or entry[3] is None:
        return balance
    charge = (entry[2] or 0) + overages[place]
    return Settled(
        charge=charge, overage=overages[place], posted=balance.posted, held=balance.held, available=balance.available
    )


def _refusal(entry: Entry, code: str, available: int | None) -> TallystickError:
    hold, account, amount, *_ = entry
    match code:
        case "insufficient":
            return InsufficientCreditsError(available or 0, amount or 0)
        case "conflict":
            return HoldConflict(f"{hold} was used before, with other content")
        case "ended":
            return HoldEnded(f"hold {hold} has ended")
        case "not_found":
            return HoldNotFound(f"there is no hold {hold}")
        case "no_account":
            return NotFound(f"there is no account {account}")
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
