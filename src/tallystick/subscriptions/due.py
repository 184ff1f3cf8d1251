"""What becomes of a subscription by itself as time passes, and when. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec

from tallystick.subscriptions.subscription import Subscription

Step = Literal["canceled", "plan_changed", "trial_ended", "grace_ended"]


class Due(msgspec.Struct, frozen=True):
    at: datetime
    step: Step


def next_due(current: Subscription, now: datetime) -> Due | None:
    """What was due first by `now`; of what was due at once the end comes first, and a plan before its trial's end."""
    if current.ended_at is not None:
        return None
    return min((due for due in _all(current) if due.at <= now), key=lambda due: due.at, default=None)


def apply_due(current: Subscription, due: Due, *, same_interval: bool) -> Subscription:
    """`same_interval` says that the pending plan is paid by the interval of the present one."""
    match due.step:
        case "canceled":
            return ended(current, due.at)
        case "plan_changed":
            if current.pending_plan_version is None:
                raise ValueError(f"subscription {current.id} has no plan to change to")
            return msgspec.structs.replace(
                current,
                plan_version=current.pending_plan_version,
                pending_plan_version=None,
                pending_at=None,
                # Months and years cannot share an anchor: one would begin in the middle of the other. A trial's end
                # is the anchor already.
                anchor=current.anchor if same_interval else due.at,
            )
        case "trial_ended":
            return msgspec.structs.replace(current, status="active")
        case "grace_ended":
            return msgspec.structs.replace(current, grace_ends_at=None)


def ended(current: Subscription, at: datetime) -> Subscription:
    """The subscription once it is over."""
    return msgspec.structs.replace(
        current, status="canceled", ended_at=at, pending_plan_version=None, pending_at=None, grace_ends_at=None
    )


def _all(current: Subscription) -> Iterator[Due]:
    """advance.sql finds the same ones."""
    if current.grace_ends_at is not None:
        yield Due(current.grace_ends_at, "grace_ended")
    if current.stripe_subscription is not None:
        # When it ends or changes is for who bills it to say, who may have been told something else meanwhile.
        return
    if current.cancel_at is not None:
        yield Due(current.cancel_at, "canceled")
    if current.pending_at is not None:
        yield Due(current.pending_at, "plan_changed")
    if current.status == "trialing" and current.trial_ends_at is not None:
        yield Due(current.trial_ends_at, "trial_ended")
