"""What a customer does with a plan in a month. Pure."""

import random
from collections.abc import Iterator
from typing import Final

from tests.flows.month.act import DAYS, FAILS_LATER, VISA, Act

KINDS: Final = (
    "changes its plan",
    "fails and recovers",
    "is metered",
    "tries",
    "cancels",
    "pauses",
    "stops paying",
    "gets its money back",
    "none",
)


def acts(kind: str, chance: random.Random) -> Iterator[Act]:
    day = chance.randint(0, 2)
    if kind == "none":
        return
    if kind == "is metered":
        yield from _metered(chance)
        return
    plan = "tried" if kind == "tries" else chance.choice(("starter", "growth"))
    other = "growth" if plan == "starter" else "starter"
    yield Act(day, "subscribe", "plan", given={"plan": plan, "card": VISA})
    if kind == "changes its plan":
        yield Act(chance.randint(5, 12), "change plan", of="plan", given={"plan": other})
    elif kind == "cancels" or (kind == "tries" and chance.random() < 0.5):
        yield Act(chance.randint(4, 9), "cancel", of="plan")
        if chance.random() < 0.5:
            yield Act(chance.randint(10, 12), "keep", of="plan")
    elif kind == "pauses" or kind == "tries":
        yield from _pauses(chance)
    elif kind in {"fails and recovers", "stops paying"}:
        yield Act(chance.randint(4, 20), "another card", given={"card": FAILS_LATER})
    elif kind == "gets its money back":
        yield from _money_back(chance)
    if kind == "fails and recovers":
        yield Act(36, "another card", given={"card": VISA})
        yield Act(36, "pay invoice", of="plan", given={"card": VISA})


def _metered(chance: random.Random) -> Iterator[Act]:
    # Our own clock is not moved: only what lies in the period that runs today is told in its own time.
    yield Act(16, "subscribe", "plan", given={"plan": "metered", "card": VISA})
    for _ in range(chance.randint(4, 12)):
        yield Act(chance.randint(20, DAYS - 1), "use", given={"sessions": chance.randint(1, 5)})


def _pauses(chance: random.Random) -> Iterator[Act]:
    """Some go on before the next invoice, some after it was voided, some not at all."""
    day = chance.randint(5, 12)
    yield Act(day, "pause", of="plan")
    if chance.random() < 0.7:
        yield Act(day + chance.randint(3, 25), "go on", of="plan")


def _money_back(chance: random.Random) -> Iterator[Act]:
    """Of the first invoice: a part by a refund, and perhaps the rest by their bank."""
    day = chance.randint(4, 8)
    yield Act(day, "refund at stripe", "of the plan", of="plan", minor=1000)
    if chance.random() < 0.6:
        yield Act(day + 3, "dispute", "about the plan", of="plan", given={"inquiry": False})
        how = chance.choice(("win", "lose"))
        yield Act(day + 9, "dispute ends", of="about the plan", given={"how": how})
