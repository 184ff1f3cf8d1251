"""What one subscription at Stripe is in our words: its plan's version, its status, its periods. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from tallystick.catalog.plan import Plan
from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import Period, period_at
from tallystick.payments.stripe.subscription import Item, StripeSubscription
from tallystick.subscriptions.follow import Billed


class PlanItem(msgspec.Struct, frozen=True, kw_only=True):
    """The item of a subscription that is a plan's price, and the version it stands for."""

    item: Item
    plan_version: int


def plan_item(
    subscription: StripeSubscription, versions: Mapping[str, Sequence[int]], *, pinned: int | None
) -> PlanItem | str:
    """Else why there is none. Where an operator kept a price for a new version of its plan, who has pinned an older one
    keeps it."""
    found = [item for item in subscription.items if item.price in versions]
    if not found:
        prices = ", ".join(item.price for item in subscription.items) or "no price"
        return f"subscription {subscription.id} has {prices}, which no plan of the catalog has"
    if len(found) > 1:
        prices = ", ".join(item.price for item in found)
        return f"subscription {subscription.id} has the prices of several plans: {prices}"
    item, known = found[0], versions[found[0].price]
    return PlanItem(item=item, plan_version=pinned if pinned is not None and pinned in known else known[-1])


def next_version(subscription: StripeSubscription, versions: Mapping[str, Sequence[int]]) -> int | None:
    """The version that a change which waits leads to; None where nothing waits, or no plan has its price."""
    found = [versions[price][-1] for price in subscription.next_prices if price in versions]
    return found[0] if len(found) == 1 else None


def billed(
    subscription: StripeSubscription, item: Item | None, plan: Plan, plan_version: int, next_plan: int | None
) -> Billed:
    """`item` is None where the subscription has no price of a plan any more."""
    waits = next_plan is not None and next_plan != plan_version
    return Billed(
        customer=subscription.customer,
        id=subscription.id,
        plan_version=plan_version,
        status=_status(subscription),
        anchor=_anchor(subscription, item, plan),
        trial_ends_at=subscription.trial_ends_at,
        cancel_at=subscription.cancel_at,
        pending_plan_version=next_plan if waits else None,
        pending_at=subscription.next_at if waits else None,
        unpaid_since=subscription.unpaid_since,
        created_at=subscription.created_at,
        ended_at=subscription.ended_at or (subscription.created_at if not subscription.live else None),
    )


def period_problem(subscription: StripeSubscription, item: Item, plan: Plan) -> str | None:
    """Why its billing periods cannot be the plan's."""
    if (item.interval, item.interval_count) == (plan.interval, 1):
        return None
    return (
        f"subscription {subscription.id} is billed every {item.interval_count} {item.interval}, and the plan"
        f" {plan.slug} every {plan.interval}"
    )


def _status(
    subscription: StripeSubscription,
) -> Literal["trialing", "active", "past_due", "unpaid", "paused", "canceled"]:
    match subscription.status:
        case "paused" | "trialing" | "active" | "past_due" | "unpaid" if subscription.collection_paused:
            return "paused"
        case "trialing" | "active" | "past_due" | "unpaid" | "paused" as status:
            return status
        case _:
            return "canceled"


def _anchor(subscription: StripeSubscription, item: Item | None, plan: Plan) -> datetime:
    """From where our periods are Stripe's."""
    if subscription.status == "trialing" and subscription.trial_ends_at is not None:
        return subscription.trial_ends_at
    if item is None:
        return subscription.anchor
    period = Period(item.period_starts_at, item.period_ends_at)
    counted = period_at(PeriodRule(anchor=subscription.anchor, interval=plan.interval), period.starts_at)
    return subscription.anchor if counted == period else period.starts_at
