"""What a movement of Stripe's balance means in our books, beside what its cause has booked already. Pure."""

from typing import Final

import msgspec

from tallystick.ledger.account import PlatformAccount

_CLEARING: Final = PlatformAccount.STRIPE_CLEARING

# Booked by the order, the invoice, the refund or the dispute that caused them, under an operation of their own.
CAUSED: Final = frozenset({"charge", "charge_failure", "refund", "refund_failure", "dispute", "dispute_reversal"})
_PAYOUTS: Final = frozenset({"payout", "payout_reversal"})
_FEES: Final = frozenset({"fee", "stripe_fee", "network_cost"})
_DISPUTES: Final = frozenset({"dispute", "dispute_reversal"})


class Entry(msgspec.Struct, frozen=True):
    """`minor` out of `debit`, into `credit`; always positive."""

    debit: PlatformAccount
    credit: PlatformAccount
    minor: int


def entries(category: str, amount_minor: int, fee_minor: int, *, ours: bool) -> list[Entry]:
    """What to book for a movement of this reporting category; none where its cause says it all."""
    if not ours:
        return _moved(PlatformAccount.STRIPE_OTHER, amount_minor - fee_minor)
    fees = PlatformAccount.DISPUTE_FEE if category in _DISPUTES else PlatformAccount.STRIPE_FEE
    return [*_amount(category, amount_minor), *_moved(fees, -fee_minor)]


def kind_of(category: str, *, ours: bool) -> str:
    """The kind of the operation that books it."""
    if not ours:
        return "adjustment"
    if category in _PAYOUTS:
        return "payout"
    return "fee" if category in CAUSED | _FEES else "adjustment"


def _amount(category: str, amount_minor: int) -> list[Entry]:
    if category in CAUSED:
        return []
    if category in _PAYOUTS:
        return _moved(PlatformAccount.BANK, amount_minor)
    if category in _FEES:
        return _moved(PlatformAccount.STRIPE_FEE, amount_minor)
    # Reserves, top-ups, transfers, taxes: money that moves at Stripe for reasons that no order of ours has.
    return _moved(PlatformAccount.STRIPE_OTHER, amount_minor)


def _moved(other: PlatformAccount, minor: int) -> list[Entry]:
    """`minor` came to Stripe from `other`, or, where it is negative, went there."""
    if minor == 0:
        return []
    return [Entry(_CLEARING, other, minor)] if minor > 0 else [Entry(other, _CLEARING, -minor)]
