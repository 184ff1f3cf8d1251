"""What happens to a subscription by itself, when its time has come: renewal, end of a trial, expiry, cancellation."""

import math
from typing import Final

from tallystick.sandbox.stripe import arrears, billing, collection, invoice, recurring, standing
from tallystick.sandbox.stripe.world import Object, World

_DAY_S: Final = 24 * 3600
_FIRST_PAYMENT_S: Final = 23 * 3600
_WARNING_S: Final = 3 * _DAY_S


def plan(world: World, subscription: Object) -> None:
    """Notes the next moment at which something happens, unless an earlier one is noted: then it looks again. To be
    called after every change of a date."""
    noted, moments = world.keep("subscription_turns"), [at for at in _moments(world, subscription) if at is not None]
    if moments and min(moments) < noted.get(subscription["id"], math.inf):
        noted[subscription["id"]] = min(moments)
        world.later(min(moments), "subscription.turn", subscription["id"])


def turn(world: World, named: str) -> None:
    """A noted moment has come: does what is due, if it still is, and notes the next one."""
    subscription, noted = world.get("subscription", named), world.keep("subscription_turns")
    if noted.get(named, math.inf) > world.now():
        return
    del noted[named]
    if any(at is not None and at <= world.now() for at in _moments(world, subscription)):
        _take_turn(world, subscription)
    plan(world, subscription)


def _take_turn(world: World, subscription: Object) -> None:
    now = world.now()
    cancel_at, paused = subscription["cancel_at"], subscription["pause_collection"]
    if subscription["status"] == "incomplete":
        standing.expire(world, subscription)
    elif cancel_at is not None and cancel_at <= now:
        billing.settle_up(world, subscription)
        standing.end(world, subscription, "cancellation_requested")
    elif paused and paused["resumes_at"] is not None and paused["resumes_at"] <= now:
        standing.change(world, subscription, pause_collection=None)
    elif subscription["status"] == "trialing" and subscription["trial_end"] <= now:
        end_trial(world, subscription)
    elif subscription["status"] == "trialing":
        world.keep("trial_warnings")[subscription["id"]] = subscription["trial_end"]
        world.emit("customer.subscription.trial_will_end", subscription)
    else:
        _renew(world, subscription)


def end_trial(world: World, subscription: Object) -> None:
    """The trial is over: the first period that costs something begins, if there is somebody to pay for it."""
    without = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if standing.default_method(world, subscription) is None and without == "cancel":
        standing.end(world, subscription, None)
    elif standing.default_method(world, subscription) is None and without == "pause":
        pause(world, subscription, "trial_end_without_payment_method")
    else:
        begin_period(world, subscription, anchor=world.now(), wait=True, status="active", trial_end=world.now())


def prolong(world: World, subscription: Object, trial_end: int) -> None:
    """It is free until then."""
    items = at_period(subscription["items"]["data"], world.now(), trial_end)
    shown = {**subscription["items"], "data": items}
    dates = {"trial_end": trial_end, "trial_start": subscription["trial_start"] or world.now()}
    standing.change(world, subscription, billing_cycle_anchor=trial_end, items=shown, status="trialing", **dates)


def pause(world: World, subscription: Object, reason: str) -> None:
    paused = {"subscription": {"type": reason}, "transitioned_at": world.now(), "type": "subscription"}
    standing.change(world, subscription, status="paused", status_details={"paused": paused})
    world.emit("customer.subscription.paused", subscription)


def begin_period(
    world: World,
    subscription: Object,
    *,
    anchor: int,
    items: list[Object] | None = None,
    lines: list[Object] | None = None,
    wait: bool = False,
    **changes: object,
) -> None:
    """A new cycle starts now: a period, and the invoice for it. `items` are new ones, `lines` go before theirs."""
    before = billing.period(subscription)
    items = subscription["items"]["data"] if items is None else items
    items = at_period(items, anchor, following(items, anchor, anchor))
    reason = "subscription_cycle" if lines is None else "subscription_update"
    all_lines = [*(lines or []), *billing.waiting(world, subscription), *billing.ahead(world, items)]
    bill = invoice.draft(world, subscription, all_lines, reason, before)
    shown = {**subscription["items"], "data": items, "total_count": len(items)}
    standing.change(world, subscription, billing_cycle_anchor=anchor, items=shown, latest_invoice=bill["id"], **changes)
    collection.issue(world, bill, wait=wait)


def following(items: list[Object], anchor: int, moment: int) -> int:
    """The end of the period that starts at a moment."""
    rhythm = items[0]["price"]["recurring"]
    return recurring.following(anchor, rhythm["interval"], rhythm["interval_count"], moment)


def at_period(items: list[Object], start: int, end: int) -> list[Object]:
    """Items, moved on to a period."""
    return [{**item, "current_period_start": start, "current_period_end": end} for item in items]


def _renew(world: World, subscription: Object) -> None:
    start, end = billing.period(subscription)
    old = subscription["items"]["data"]
    items = at_period(old, end, following(old, subscription["billing_cycle_anchor"], end))
    lines = [
        *arrears.lines(world, old, subscription["customer"], end),
        *billing.waiting(world, subscription),
        *billing.ahead(world, items),
    ]
    bill = invoice.draft(world, subscription, lines, "subscription_cycle", (start, end))
    shown = {**subscription["items"], "data": items}
    standing.change(world, subscription, items=shown, latest_invoice=bill["id"])
    collection.issue(world, bill, wait=True)


def _moments(world: World, subscription: Object) -> list[int | None]:
    """When something is to happen, as far as is known now."""
    status, trial_end = subscription["status"], subscription["trial_end"]
    if status == "incomplete":
        return [subscription["created"] + _FIRST_PAYMENT_S]
    if status in standing.ENDED:
        return []
    moments = [subscription["cancel_at"], (subscription["pause_collection"] or {}).get("resumes_at")]
    if status == "trialing":
        warned = world.keep("trial_warnings").get(subscription["id"]) == trial_end
        moments += [trial_end, None if warned else trial_end - _WARNING_S]
    elif status != "paused":
        moments.append(billing.period(subscription)[1])
    return moments
