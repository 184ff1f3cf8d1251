"""Stripe's balance: what stands there, and the movements that made it."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors

_PAGE: Final = 100


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A balance transaction. `amount_minor` is signed: positive came in; `fee_minor` was taken from it beside that."""

    id: str
    category: str
    amount_minor: int
    fee_minor: int
    currency: str
    source: str | None
    payment_intent: str | None
    at: datetime


async def movements_since(stripe: StripeClient, since: datetime | None) -> AsyncIterator[Movement]:
    """Every movement created from `since` on, or ever, the newest first."""
    wanted: Any = {"limit": _PAGE, "expand": ["data.source"]}
    if since is not None:
        wanted["created"] = {"gte": int(since.timestamp())}
    with known_errors():
        page = await stripe.v1.balance_transactions.list_async(wanted)
        async for found in page.auto_paging_iter():
            source: Any = found.source
            intent = getattr(source, "payment_intent", None)
            yield Movement(
                id=found.id,
                category=found.reporting_category,
                amount_minor=found.amount,
                fee_minor=found.fee,
                currency=found.currency,
                source=getattr(source, "id", source),
                payment_intent=getattr(intent, "id", intent),
                at=datetime.fromtimestamp(found.created, UTC),
            )


async def read_balance(stripe: StripeClient) -> dict[str, int]:
    """By currency what Stripe holds for this account, available or not yet, in its minor unit."""
    with known_errors():
        found = await stripe.v1.balance.retrieve_async()
    sums: Counter[str] = Counter()
    parts: list[Any] = [*found.available, *found.pending]
    for part in parts:
        sums[part.currency] += part.amount
    return dict(sums)
