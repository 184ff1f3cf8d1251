"""What the credit service is asked and what it answers; the same in-process and over HTTP. Amounts are in credits."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from tallystick.base.errors import TallystickError

Amount = Decimal | int | float
TransactionType = Literal[
    "purchase", "deduction", "grant", "expiry", "reversal", "adjustment", "refund", "dispute", "collection"
]


class BalanceResponse(msgspec.Struct, frozen=True, kw_only=True):
    """`balance` is what the account has; `held` of it is set aside for running requests; `available` can be spent."""

    balance: Decimal
    available: Decimal
    held: Decimal
    last_purchase_at: datetime | None
    last_deduction_at: datetime | None


class PurchaseResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Where the buyer pays. Credits arrive when the payment does, not before."""

    checkout_url: str
    session_id: str
    order_id: str


class RedeemResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What a coupon gave, until when it can be spent, and what the account has now."""

    credits: Decimal
    expires_at: datetime | None
    balance: Decimal


class Deduction(msgspec.Struct, frozen=True, kw_only=True):
    """One charge of a batch; the same `request_id` is never charged twice."""

    user_id: str
    amount: Amount
    request_id: str | None = None


class DeductResponse(msgspec.Struct, frozen=True, kw_only=True):
    """`id` names the transaction in the history; `balance` is what the account has now."""

    id: str
    user_id: str
    request_id: str | None
    deducted: Decimal
    balance: Decimal


class DeductFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why one charge of a batch was not made."""

    user_id: str | None
    request_id: str | None
    error: TallystickError


class BatchResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One result per deduction, in the order they were given."""

    results: list[DeductResponse | DeductFailure]

    @property
    def succeeded(self) -> list[DeductResponse]:
        return [result for result in self.results if isinstance(result, DeductResponse)]

    @property
    def failed(self) -> list[DeductFailure]:
        return [result for result in self.results if isinstance(result, DeductFailure)]


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history: credits that came in are positive, those that went out negative."""

    id: str
    type: TransactionType
    amount: Decimal
    created_at: datetime


class HistoryResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first; `next_cursor` asks for what is older, None at the end."""

    transactions: list[Transaction]
    next_cursor: str | None
