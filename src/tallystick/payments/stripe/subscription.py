"""Subscriptions at Stripe, as far as ours follow from them."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors

_PAGE: Final = 100
_EXPANDED: Final = ["data.latest_invoice", "data.schedule"]
LIVE: Final = frozenset({"trialing", "active", "past_due", "unpaid", "paused"})
"""What has begun and is not over. One that is incomplete has not begun."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One price of a subscription, and the period that is paid for."""

    price: str
    interval: str
    interval_count: int
    period_starts_at: datetime
    period_ends_at: datetime


class StripeSubscription(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    customer: str
    status: str
    items: tuple[Item, ...]
    anchor: datetime
    trial_ends_at: datetime | None
    cancel_at: datetime | None
    collection_paused: bool
    next_prices: tuple[str, ...] = ()
    """What a change that waits will have it billed by, and when; none where nothing waits."""
    next_at: datetime | None = None
    unpaid_since: datetime | None
    """When its latest invoice could first be paid, where it is not."""
    created_at: datetime
    ended_at: datetime | None

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def prices(self) -> tuple[str, ...]:
        """Those it is billed by, and those it is to be."""
        return (*(item.price for item in self.items), *self.next_prices)


async def subscriptions_of(stripe: StripeClient, customer: str) -> tuple[StripeSubscription, ...]:
    """Every one the customer has or had, the oldest first."""
    with known_errors():
        page = await stripe.v1.subscriptions.list_async(
            {"customer": customer, "status": "all", "limit": _PAGE, "expand": _EXPANDED}
        )
        found = [read_subscription(row.to_dict()) async for row in page.auto_paging_iter()]
    return tuple(sorted(found, key=lambda one: (one.created_at, one.id)))


def read_subscription(row: dict[str, Any]) -> StripeSubscription:
    """One as Stripe shows it, with its latest invoice and its schedule expanded."""
    next_prices, next_at = _next_phase(row["schedule"])
    items = tuple(_item(item) for item in row["items"]["data"])
    ends_at = max((item.period_ends_at for item in items), default=None)
    return StripeSubscription(
        id=row["id"],
        customer=row["customer"],
        status=row["status"],
        items=items,
        anchor=_at(row["billing_cycle_anchor"]),
        trial_ends_at=_maybe(row["trial_end"]),
        cancel_at=_maybe(row["cancel_at"]) or (ends_at if row["cancel_at_period_end"] else None),
        collection_paused=row["pause_collection"] is not None,
        next_prices=next_prices,
        next_at=next_at,
        unpaid_since=_unpaid_since(row["latest_invoice"]),
        created_at=_at(row["created"]),
        ended_at=_maybe(row["ended_at"]),
    )


def _item(row: dict[str, Any]) -> Item:
    recurring = row["price"]["recurring"]
    return Item(
        price=row["price"]["id"],
        interval=recurring["interval"],
        interval_count=recurring["interval_count"],
        period_starts_at=_at(row["current_period_start"]),
        period_ends_at=_at(row["current_period_end"]),
    )


def _next_phase(schedule: dict[str, Any] | None) -> tuple[tuple[str, ...], datetime | None]:
    """The portal makes a schedule of a change that waits for the end of the period."""
    current = None if schedule is None else schedule["current_phase"]
    if schedule is None or current is None or schedule["status"] != "active":
        return (), None
    later = [phase for phase in schedule["phases"] if phase["start_date"] >= current["end_date"]]
    if not later:
        return (), None
    first = min(later, key=lambda phase: int(phase["start_date"]))
    return tuple(item["price"] for item in first["items"]), _at(first["start_date"])


def _unpaid_since(invoice: dict[str, Any] | None) -> datetime | None:
    if invoice is None or invoice["status"] not in {"open", "uncollectible"}:
        return None
    return _maybe(invoice["status_transitions"]["finalized_at"])


def _maybe(seconds: int | None) -> datetime | None:
    return None if seconds is None else _at(seconds)


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
