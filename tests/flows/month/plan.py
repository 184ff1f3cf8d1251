"""What every customer does in a month and the days after it: made from a seed before anything happens. Pure.

A customer's acts depend on nothing but the seed and the customer's number, so that one can be lived through alone.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

DAYS: Final = 41
"""A month, and the retries of its renewals."""

VISA, AUTHENTICATES, REFUND_FAILS = "4242424242424242", "4000002760003184", "4000000000005126"
DECLINED, FAILS_LATER, BANK, BANK_EMPTY = "4000000000000002", "4000000000000341", "000123456789", "000222222227"

CATALOG: Final = """
[[pack]]
slug = "gift"
name = "A tenth on top"
amount = 50
credits = 55

[[coupon]]
code = "FIFTH"
percent_off = 20

[[plan]]
slug = "starter"
name = "Starter"
strategy = "included"
price = 29
[[plan.meters]]
meter = "requests"
allowance = 10_000

[[plan]]
slug = "growth"
name = "Growth"
strategy = "flat"
price = 99
tier = "pro"
grace_days = 10

[[plan]]
slug = "tried"
name = "Tried first"
strategy = "flat"
price = 49
trial_days = 14

[[plan]]
slug = "metered"
name = "Metered"
strategy = "custom"
charges_models = false
usage_billing = "stripe"
price = 10
[[plan.meters]]
meter = "agent_sessions"
overage = { price = 0.50 }
"""


@dataclass(frozen=True, slots=True)
class Act:
    """On `day` the customer does `what`. `of` names an act before it, which this one is about."""

    day: int
    what: str
    name: str = ""
    of: str = ""
    minor: int = 0
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Life:
    """What one customer does. How often a card is charged by itself depends on how fast time passes here."""

    number: int
    kinds: tuple[str, str]
    acts: tuple[Act, ...]

    @property
    def depends_on_timing(self) -> bool:
        return self.kinds[0].startswith("tops up")


def lives(seed: int, numbers: Iterable[int]) -> Sequence[Life]:
    return [life(seed, number) for number in numbers]


def life(seed: int, number: int) -> Life:
    chance = random.Random(f"{seed} {number}")
    credits_, plan = _CREDITS[number % len(_CREDITS)], _PLANS[(number + number // len(_CREDITS)) % len(_PLANS)]
    began = [*_began(chance)]
    if credits_.startswith("tops up"):
        # Who spends it all on other days spends nothing in between, or would want more than is there.
        began = [act for act in began if act.what not in {"spend", "hold"}]
    elif credits_ == "is refunded" or credits_.startswith("disputes"):
        # What goes back later may be more than is left: they spend before.
        began = [replace(act, day=5) if act.what in {"spend", "hold"} else act for act in began]
    acts = [*began, *_credits(credits_, chance), *_plan(plan, chance)]
    named = [
        Act(act.day, act.what, act.name or f"{position}", act.of, act.minor, act.given)
        for position, act in enumerate(sorted(acts, key=lambda act: act.day))
    ]
    return Life(number, (credits_, plan), tuple(named))


_CREDITS: Final = (
    "is refunded",
    "tops up",
    "disputes and wins",
    "is refunded elsewhere",
    "disputes and loses",
    "transfers",
    "tops up until it is declined",
    "asks its bank",
    "pays from a bank account",
    "has a refund that fails",
    "tops up, and the bank asks",
)
_PLANS: Final = ("changes its plan", "fails and recovers", "is metered", "tries", "cancels", "stops paying", "none")


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


def _credits(kind: str, chance: random.Random) -> Iterator[Act]:
    whole = chance.randint(2, 8) * 2000
    day = chance.randint(4, 8)
    later = day + chance.randint(2, 9)
    bought = Act(day, "buy", "bought", given={"amount": whole // 100, "card": VISA})
    if kind == "is refunded":
        yield bought
        yield Act(day + 1, "spend", minor=whole // 4)
        yield Act(later, "refund", "part", of="bought", minor=whole // 4)
        yield Act(later + 2, "refund", "rest", of="bought", minor=whole - whole // 4)
    elif kind == "is refunded elsewhere":
        yield bought
        yield Act(later, "refund at stripe", "part", of="bought", minor=whole // 5)
        yield Act(later + chance.randint(1, 5), "refund at stripe", "rest", of="bought", minor=whole - whole // 5)
    elif kind == "has a refund that fails":
        yield Act(day, "buy", "bought", given={"amount": whole // 100, "card": REFUND_FAILS})
        yield Act(later, "refund", "part", of="bought", minor=whole // 2)
        yield Act(later + 4, "refund fails", of="part")
        if chance.random() < 0.5:
            yield Act(later + 8, "refund", "again", of="bought", minor=whole // 2)
    elif kind.startswith("disputes"):
        yield bought
        if chance.random() < 0.5:
            yield Act(day + 1, "spend", minor=whole // 2)
        inquiry = chance.random() < 0.4
        yield Act(later, "dispute", "dispute", of="bought", given={"inquiry": inquiry})
        if inquiry and (wins := kind.endswith("wins")):
            yield Act(later + 3, "dispute ends", of="dispute", given={"how": "end_inquiry"})
            return
        if inquiry:
            yield Act(later + 3, "dispute ends", of="dispute", given={"how": "escalate"})
        wins = kind.endswith("wins")
        yield Act(later + 8, "dispute ends", of="dispute", given={"how": "win" if wins else "lose"})
        yield Act(later + 12, "buy", "after it", given={"amount": 40, "card": VISA})
    elif kind == "transfers":
        for number in range(chance.randint(1, 3)):
            yield Act(day + 3 * number, "order by hand", f"hand {number}", minor=whole)
            approved = chance.random() < 0.8
            yield Act(day + 3 * number + 2, "approve" if approved else "reject", of=f"hand {number}")
    elif kind == "asks its bank":
        yield Act(day, "buy", "bought", given={"amount": whole // 100, "card": AUTHENTICATES})
        yield Act(later, "buy", "second", given={"amount": 20, "card": VISA, "declined": DECLINED})
    elif kind == "pays from a bank account":
        yield Act(day, "buy", "bought", given={"amount": whole // 100, "card": BANK})
        yield Act(later, "debit ends", of="bought", given={"succeeded": chance.random() < 0.7})
        yield Act(later, "buy", "second", given={"amount": 20, "card": BANK_EMPTY})
        yield Act(later + 4, "debit ends", of="second", given={"succeeded": False})
    else:
        card = AUTHENTICATES if kind.endswith("asks") else VISA
        yield Act(day, "buy", "saved", given={"amount": 20, "card": card, "save_card": True})
        yield Act(day + 1, "top up", minor=chance.randint(2, 6) * 1000)
        if kind.endswith("declined"):
            yield Act(day + 12, "card declines")
        for number in range(6):
            yield Act(day + 2 + 4 * number, "spend it all", given={"but_minor": chance.randint(0, 400)})


def _plan(kind: str, chance: random.Random) -> Iterator[Act]:
    day = chance.randint(0, 2)
    if kind == "none":
        return
    if kind == "is metered":
        # Our own clock is not moved: only what lies in the period that runs today is told in its own time.
        yield Act(16, "subscribe", "plan", given={"plan": "metered", "card": VISA})
        for _ in range(chance.randint(4, 12)):
            yield Act(chance.randint(20, DAYS - 1), "use", given={"sessions": chance.randint(1, 5)})
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
    elif kind in {"fails and recovers", "stops paying"}:
        yield Act(chance.randint(4, 20), "another card", given={"card": FAILS_LATER})
    if kind == "fails and recovers":
        yield Act(36, "another card", given={"card": VISA})
        yield Act(36, "pay invoice", of="plan", given={"card": VISA})
