"""What every customer does in a month and the days after it: made from a seed before anything happens. Pure.

A customer's acts depend on nothing but the seed and the customer's number, so that one can be lived through alone.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.flows.month import plans
from tests.flows.month.act import VISA, Act
from tests.flows.month.courses import COURSES

_CREDITS: Final = tuple(COURSES)
EVERY_KIND: Final = len(_CREDITS)
"""So many customers are of every kind, of credits and of plans."""


@dataclass(frozen=True, slots=True)
class Life:
    """What one customer does. How often a card is charged by itself, and who is first where there is little, depends on
    how fast time passes here."""

    number: int
    kinds: tuple[str, str]
    acts: tuple[Act, ...]

    @property
    def depends_on_timing(self) -> bool:
        return self.kinds[0].startswith("tops up") or any(act.what == "want one of few" for act in self.acts)


def lives(seed: int, numbers: Iterable[int]) -> Sequence[Life]:
    return [life(seed, number) for number in numbers]


def life(seed: int, number: int) -> Life:
    chance = random.Random(f"{seed} {number}")
    credits_, plan = _CREDITS[number % EVERY_KIND], plans.KINDS[(number + number // EVERY_KIND) % len(plans.KINDS)]
    began = [*_began(chance)]
    if credits_.startswith("tops up"):
        # Who spends it all on other days spends nothing in between, or would want more than is there.
        began = [act for act in began if act.what not in {"spend", "hold"}]
    elif credits_ in {"is refunded", "orders packages", "redeems coupons"} or credits_.startswith("disputes"):
        # What goes back later may be more than is left: they spend before.
        began = [replace(act, day=5) if act.what in {"spend", "hold"} else act for act in began]
    course, planned = [*COURSES[credits_](chance)], [*plans.acts(plan, chance)]
    if any(act.what in {"choose a top-up", "answer the bank"} for act in course):
        # The newest card is the one that is charged by itself: a bad one comes after what needs a good one.
        planned = [replace(act, day=max(act.day, 20)) if act.what == "another card" else act for act in planned]
    acts = [*began, *course, *planned]
    named = [
        Act(act.day, act.what, act.name or f"{position}", act.of, act.minor, act.given)
        for position, act in enumerate(sorted(acts, key=lambda act: act.day))
    ]
    return Life(number, (credits_, plan), tuple(named))


def _began(chance: random.Random) -> Iterator[Act]:
    """All buy and spend a little of it; nobody ever means to spend more than is there."""
    for number in range(chance.randint(1, 3)):
        day = chance.randint(0, 3)
        coupon = {"coupon": "FIFTH"} if number == 0 and chance.random() < 0.4 else {}
        kind = {"pack": "gift"} if not coupon and chance.random() < 0.4 else {"amount": chance.randint(4, 16) * 5}
        yield Act(day, "buy", f"first {number}", given={**kind, **coupon, "card": VISA})
    if chance.random() < 0.3:
        yield Act(chance.randint(0, 9), "grant", minor=chance.randint(1, 20) * 100)
    if chance.random() < 0.2:
        yield Act(chance.randint(4, 20), "look around", given={"amount": 10})
    for _ in range(3):
        yield Act(chance.randint(5, 30), "spend", minor=chance.randint(1, 300))
    yield Act(chance.randint(5, 30), "hold", minor=chance.randint(100, 300), given={"used": chance.randint(0, 100)})
