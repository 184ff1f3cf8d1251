"""What becomes of a refund: it succeeds at once or later, or it fails and the money comes back."""

from typing import Any, Final

from tallystick.sandbox.stripe import balance_transaction
from tallystick.sandbox.stripe.payment_method import instrument_of
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

FAILURES: Final = (
    "charge_for_pending_refund_disputed",
    "declined",
    "expired_or_canceled_card",
    "insufficient_funds",
    "lost_or_stolen_card",
    "merchant_request",
    "unknown",
)


def plan(world: World, charge: Object) -> Object:
    """How a refund of a charge begins and goes on: as told for the next ones, or as its card or account does.
    `after_s` is None when only a control decides."""
    told: list[Object] = world.keep("refund_next").get("plans", [])
    if told:
        first: Object = told[0]
        first["times"] -= 1
        if first["times"] <= 0:
            told.pop(0)
        return first
    used = instrument_of(world.get("payment_method", charge["payment_method"]))
    begins, then = ("pending", "succeeded") if used.kind == "us_bank_account" else used.refund
    return {"status": begins, "then": then, "after_s": world.debit_delay_s, "reason": "unknown"}


def tell_next(world: World, told: dict[str, Any]) -> list[Object]:
    """Decides what the next refunds do, whatever they were paid with."""
    plans: list[Object] = world.keep("refund_next").setdefault("plans", [])
    plans.append(dict(told))
    return plans


def forget_next(world: World) -> None:
    """The next refunds do what their card or account does."""
    world.keep("refund_next").pop("plans", None)


def follow(world: World, refund: Object, planned: Object) -> None:
    """Notes what falls due for a refund that has begun."""
    if planned["then"] is None or planned["after_s"] is None:
        return
    world.keep("refund_reason")[refund["id"]] = planned["reason"]
    world.later(world.now() + planned["after_s"], f"refund.{planned['then']}", refund["id"])


def succeed_due(world: World, named: str) -> None:
    refund = world.get("refund", named)
    if refund["status"] == "pending":
        succeed(world, refund)


def fail_due(world: World, named: str) -> None:
    refund = world.get("refund", named)
    if refund["status"] in {"pending", "succeeded"}:
        fail(world, refund, reason=world.keep("refund_reason")[named])


def succeed(world: World, refund: Object) -> None:
    _check(refund, "pending", "requires_action")
    change(world, refund, {"status": "succeeded", "pending_reason": None})


def fail(world: World, refund: Object, *, reason: str) -> None:
    """The bank sends the money back, perhaps long after it seemed to have taken it."""
    _check(refund, "pending", "requires_action", "succeeded")
    back = _bring_back(world, refund)
    ended = {"status": "failed", "failure_reason": reason, "failure_balance_transaction": back}
    change(world, refund, {**ended, "pending_reason": None})
    world.emit("refund.failed", refund)


def cancel(world: World, refund: Object) -> None:
    """Called off before the customer did their part."""
    _check(refund, "requires_action")
    back = _bring_back(world, refund)
    change(world, refund, {"status": "canceled", "failure_balance_transaction": back})


def change(world: World, refund: Object, changes: Object) -> None:
    """Stripe tells of it under both names that the event has had."""
    before = world.change(refund, "refund.updated", changes)
    if before:
        world.emit("charge.refund.updated", refund, previous=before)


def _check(refund: Object, *wanted: str) -> None:
    if refund["status"] not in wanted:
        allowed = " or ".join(wanted)
        raise Refusal(400, f"This refund's status is {refund['status']}; it would have to be {allowed}.")


def _bring_back(world: World, refund: Object) -> str:
    charge = world.get("charge", refund["charge"])
    charge |= {"amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False}
    about = f"REFUND FAILURE ({charge['description']})" if charge["description"] else "REFUND FAILURE"
    back = balance_transaction.record(world, refund, "refund_failure", refund["amount"], description=about)
    return str(back["id"])
