"""The life of an order: which state may follow which. Pure.

    created -> awaiting_payment -> (paid ->) credited -> refunded, disputed, and back when those fail
       `------------+--> expired, failed: nobody paid; and if the money comes after all, paid or credited

`paid` is money that is known to have come and was not credited, because something about it does not fit.
"""

from typing import Final, Literal, get_args

OrderState = Literal["created", "awaiting_payment", "paid", "credited", "expired", "failed", "refunded", "disputed"]
OrderKind = Literal["checkout", "manual", "top_up"]
STATES: Final[tuple[OrderState, ...]] = get_args(OrderState)
KINDS: Final[tuple[OrderKind, ...]] = get_args(OrderKind)

_NEXT: Final[dict[OrderState, frozenset[OrderState]]] = {
    "created": frozenset({"awaiting_payment", "paid", "credited", "expired", "failed"}),
    "awaiting_payment": frozenset({"paid", "credited", "expired", "failed"}),
    # A declined card may be followed by a good one, and a session that nobody finished still ends.
    "failed": frozenset({"expired", "paid", "credited"}),
    # The end of the page it was to be paid on, whatever was tried there before.
    "expired": frozenset({"paid", "credited"}),
    "paid": frozenset({"credited", "refunded", "disputed"}),
    "credited": frozenset({"refunded", "disputed"}),
    "refunded": frozenset({"credited", "disputed", "paid"}),
    "disputed": frozenset({"credited", "refunded", "paid"}),
}

UNPAID: Final = frozenset[OrderState]({"created", "awaiting_payment"})
"""Nothing came yet, and something may."""


def may_become(state: OrderState, following: OrderState) -> bool:
    """Whether an order in `state` can be in the state `following` next."""
    return following in _NEXT[state]


def state_of_money(came_minor: int, refunded_minor: int, disputed_minor: int, *, credited: bool) -> OrderState:
    """Where an order whose money came stands, by what went back of it."""
    if disputed_minor:
        return "disputed"
    if refunded_minor == came_minor:
        return "refunded"
    return "credited" if credited else "paid"
