"""What may become of a customer's credits: each kind of customer goes one of these ways. Pure."""

import random
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from tests.flows.month.act import AUTHENTICATES, BANK, BANK_EMPTY, DECLINED, REFUND_FAILS, VISA, Act

Course: TypeAlias = Callable[[random.Random], Iterator[Act]]


def _buys(chance: random.Random, card: str = VISA) -> Act:
    """An even amount, of which any half, quarter or fifth is whole cents and whole nanocredits."""
    return Act(chance.randint(4, 8), "buy", "bought", given={"amount": chance.randint(2, 8) * 20, "card": card})


def _refunded(chance: random.Random) -> Iterator[Act]:
    bought = _buys(chance)
    whole, later = bought.given["amount"] * 100, bought.day + chance.randint(2, 9)
    yield bought
    yield Act(bought.day + 1, "spend", minor=whole // 4)
    yield Act(later, "refund", "part", of="bought", minor=whole // 4)
    yield Act(later + 2, "refund", "rest", of="bought", minor=whole - whole // 4)


def _refunded_elsewhere(chance: random.Random) -> Iterator[Act]:
    bought = _buys(chance)
    whole, later = bought.given["amount"] * 100, bought.day + chance.randint(2, 9)
    yield bought
    yield Act(later, "refund at stripe", "part", of="bought", minor=whole // 5)
    yield Act(later + chance.randint(1, 5), "refund at stripe", "rest", of="bought", minor=whole - whole // 5)


def _refund_that_fails(chance: random.Random) -> Iterator[Act]:
    bought = _buys(chance, REFUND_FAILS)
    half, later = bought.given["amount"] * 50, bought.day + chance.randint(2, 9)
    yield bought
    yield Act(later, "refund", "part", of="bought", minor=half)
    yield Act(later + 4, "refund fails", of="part")
    if chance.random() < 0.5:
        yield Act(later + 8, "refund", "again", of="bought", minor=half)


def _disputes(chance: random.Random, *, wins: bool) -> Iterator[Act]:
    bought = _buys(chance)
    later = bought.day + chance.randint(2, 9)
    yield bought
    if chance.random() < 0.5:
        yield Act(bought.day + 1, "spend", minor=bought.given["amount"] * 50)
    inquiry = chance.random() < 0.4
    yield Act(later, "dispute", "dispute", of="bought", given={"inquiry": inquiry})
    if inquiry and wins:
        yield Act(later + 3, "dispute ends", of="dispute", given={"how": "end_inquiry"})
        return
    if inquiry:
        yield Act(later + 3, "dispute ends", of="dispute", given={"how": "escalate"})
    yield Act(later + 6, "dispute ends", of="dispute", given={"how": "win" if wins else "lose"})
    yield Act(later + 12, "buy", "after it", given={"amount": 40, "card": VISA})


def _wins(chance: random.Random) -> Iterator[Act]:
    yield from _disputes(chance, wins=True)


def _loses(chance: random.Random) -> Iterator[Act]:
    yield from _disputes(chance, wins=False)


def _transfers(chance: random.Random) -> Iterator[Act]:
    day, amount = chance.randint(4, 8), chance.randint(2, 8) * 20
    for number in range(chance.randint(1, 3)):
        yield Act(day + 3 * number, "order by hand", f"hand {number}", given={"amount": amount})
        ends = chance.choice(("approve", "approve", "approve by two", "approve by two", "reject"))
        yield Act(day + 3 * number + 2, ends, of=f"hand {number}")


def _packages(chance: random.Random) -> Iterator[Act]:
    """What is not sold by card: ordered by themselves, and for them; some of it goes back to their bank."""
    day = chance.randint(4, 8)
    yield Act(day, "order by hand", "package", given={"pack": "dedicated", "reference": "PO 4711"})
    yield Act(day + 2, "approve by two", of="package")
    yield Act(day + 3, "order for them", "for them", given={"amount": 500, "coupon": "TENNER"})
    yield Act(day + 4, chance.choice(("approve by two", "approve")), of="for them")
    yield Act(day + 9, "hand back", "part", of="package", minor=chance.choice((100_000, 250_000)))
    if chance.random() < 0.4:
        yield Act(day + 14, "hand back", "for them too", of="for them", minor=49_000)


def _coupons(chance: random.Random) -> Iterator[Act]:
    day = chance.randint(4, 8)
    yield Act(day, "redeem", given={"code": "WELCOME", "credits": 5})
    yield Act(day + 1, "redeem once more", given={"code": "welcome"})
    yield Act(day + 1, "buy", "more", given={"amount": chance.randint(1, 4) * 20, "coupon": "EXTRA", "card": VISA})
    yield Act(day + 2, "buy", "less", given={"pack": "gift", "coupon": "TENNER", "card": VISA})
    yield Act(day + 7, "refund", "part", of="more", minor=1000)
    yield Act(day + 9, "refund at stripe", "all", of="less", minor=4000)
    yield Act(day + 11, "want one of few", given={"code": "FEW", "credits": 3})


def _bank_asks(chance: random.Random) -> Iterator[Act]:
    bought = _buys(chance, AUTHENTICATES)
    yield bought
    day = bought.day + chance.randint(2, 9)
    yield Act(day, "buy", "second", given={"amount": 20, "card": VISA, "declined": DECLINED})


def _bank_account(chance: random.Random) -> Iterator[Act]:
    bought = _buys(chance, BANK)
    later = bought.day + chance.randint(2, 9)
    yield bought
    yield Act(later, "debit ends", of="bought", given={"succeeded": chance.random() < 0.7})
    yield Act(later, "buy", "second", given={"amount": 20, "card": BANK_EMPTY})
    yield Act(later + 4, "debit ends", of="second", given={"succeeded": False})


def _saves(day: int, minor: int, card: str = VISA, name: str = "saved") -> Iterator[Act]:
    yield Act(day, "buy", name, given={"amount": 20, "card": card, "save_card": True})
    yield Act(day + 1, "top up", minor=minor)


def _spends(chance: random.Random, first: int, times: int) -> Iterator[Act]:
    for number in range(times):
        yield Act(first + 4 * number, "spend it all", given={"but_minor": chance.randint(0, 400)})


def _tops_up(chance: random.Random) -> Iterator[Act]:
    day = chance.randint(4, 8)
    yield from _saves(day, chance.randint(2, 6) * 1000)
    yield from _spends(chance, day + 2, 6)


def _declined(chance: random.Random) -> Iterator[Act]:
    """Some of them set it up again with another card."""
    day, minor = chance.randint(4, 8), chance.randint(2, 6) * 1000
    yield from _saves(day, minor)
    yield from _spends(chance, day + 2, 4)
    yield Act(day + 12, "card declines")
    if chance.random() < 0.6:
        yield from _saves(day + 19, minor, name="another")
        yield from _spends(chance, day + 21, 2)


def _bank_asks_for_top_ups(chance: random.Random) -> Iterator[Act]:
    """They answer once, and set it up again; the second time nobody answers."""
    day, minor = chance.randint(4, 8), chance.randint(2, 6) * 1000
    yield from _saves(day, minor, AUTHENTICATES)
    yield from _spends(chance, day + 2, 1)
    yield Act(day + 3, "answer the bank", given={"card": AUTHENTICATES})
    yield Act(day + 6, "top up", minor=minor)
    yield from _spends(chance, day + 8, 4)


def _disputes_a_top_up(chance: random.Random) -> Iterator[Act]:
    day, minor, wins = chance.randint(4, 8), chance.randint(2, 6) * 1000, chance.random() < 0.5
    yield from _saves(day, minor)
    yield from _spends(chance, day + 2, 1)
    yield Act(day + 4, "choose a top-up", "chosen", given={"amount": minor // 100})
    if chance.random() < 0.6:
        yield from _spends(chance, day + 5, 1)
    inquiry = chance.random() < 0.3
    yield Act(day + 6, "dispute", "dispute", of="chosen", given={"inquiry": inquiry})
    if inquiry:
        yield Act(day + 8, "dispute ends", of="dispute", given={"how": "escalate"})
    yield Act(day + 12, "dispute ends", of="dispute", given={"how": "win" if wins else "lose"})
    yield from _saves(day + 13, minor, name="after it")
    yield from _spends(chance, day + 15, 3)


def _top_up_refunded(chance: random.Random) -> Iterator[Act]:
    """In part by us, which fails after a while; then by somebody at Stripe."""
    day, minor = chance.randint(4, 8), chance.randint(2, 6) * 1000
    yield from _saves(day, minor, REFUND_FAILS)
    yield from _spends(chance, day + 2, 1)
    yield Act(day + 4, "choose a top-up", "chosen", given={"amount": minor // 100})
    yield Act(day + 6, "refund", "part", of="chosen", minor=minor // 2)
    yield Act(day + 10, "refund fails", of="part")
    yield Act(day + 12, "refund at stripe", "rest", of="chosen", minor=minor // 4)
    yield Act(day + 13, "top up", minor=minor)
    yield from _spends(chance, day + 14, 3)


COURSES: Final[dict[str, Course]] = {
    "is refunded": _refunded,
    "tops up": _tops_up,
    "disputes and wins": _wins,
    "is refunded elsewhere": _refunded_elsewhere,
    "disputes and loses": _loses,
    "transfers": _transfers,
    "tops up until it is declined": _declined,
    "asks its bank": _bank_asks,
    "orders packages": _packages,
    "pays from a bank account": _bank_account,
    "has a refund that fails": _refund_that_fails,
    "tops up, and the bank asks": _bank_asks_for_top_ups,
    "redeems coupons": _coupons,
    "tops up, and disputes it": _disputes_a_top_up,
    "tops up, and is refunded": _top_up_refunded,
}
