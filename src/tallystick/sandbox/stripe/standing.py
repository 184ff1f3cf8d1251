"""Where a subscription stands: what becomes of it when its latest invoice is paid or is not, and how it ends.

incomplete -> active | incomplete_expired         trialing -> active | paused | canceled
active <-> past_due -> canceled | unpaid          anything alive -> canceled
"""

from typing import Final, Literal

from tallystick.sandbox.stripe import invoice
from tallystick.sandbox.stripe.world import Object, World

ENDED: Final = frozenset(("canceled", "incomplete_expired"))
_UPDATED: Final = "customer.subscription.updated"


def change(world: World, subscription: Object, **changes: object) -> None:
    world.change(subscription, _UPDATED, changes)


def paid(world: World, subscription: Object, bill: Object, method: Object | None) -> None:
    """An invoice was paid, or for the first one of all: a bank debit is under way."""
    if subscription["status"] in ENDED or bill["id"] != subscription["latest_invoice"]:
        return
    changes: Object = {}
    if subscription["status"] in {"incomplete", "past_due", "unpaid"}:
        changes["status"] = "active"
    if method is not None and method["customer"] == subscription["customer"] and _takes_over(world, subscription):
        changes["default_payment_method"] = method["id"]
    change(world, subscription, **changes)
    _note_delinquent(world, subscription, late=False)


def unpaid(world: World, subscription: Object, bill: Object) -> None:
    """The latest invoice was asked for and not paid. A subscription that never began stays incomplete."""
    if bill["id"] != subscription["latest_invoice"]:
        return
    if subscription["status"] in {"active", "trialing"}:
        change(world, subscription, status="past_due")
    if subscription["status"] == "past_due":
        _note_delinquent(world, subscription, late=True)


def forgiven(world: World, subscription: Object, bill: Object) -> None:
    """The latest invoice will never be paid, and that is all right."""
    if bill["id"] != subscription["latest_invoice"]:
        return
    if subscription["status"] == "incomplete":
        expire(world, subscription)
    elif subscription["status"] in {"past_due", "unpaid"}:
        change(world, subscription, status="active")


def give_up(world: World, subscription: Object, bill: Object) -> None:
    """The last retry failed. What follows is a setting of the account."""
    if subscription["status"] != "past_due" or bill["id"] != subscription["latest_invoice"]:
        return
    if world.keep("account").get("after_retries", "canceled") == "unpaid":
        change(world, subscription, status="unpaid")
    else:
        end(world, subscription, "payment_failed")


def expire(world: World, subscription: Object) -> None:
    """The first invoice was not paid in time."""
    bill = world.get("invoice", subscription["latest_invoice"])
    change(world, subscription, status="incomplete_expired", ended_at=world.now())
    if bill["status"] == "open":
        invoice.close(world, bill, "void")


def end(world: World, subscription: Object, reason: Literal["cancellation_requested", "payment_failed"] | None) -> None:
    now = world.now()
    details = {**subscription["cancellation_details"], "reason": reason}
    subscription |= {
        "status": "canceled",
        "canceled_at": subscription["canceled_at"] or now,
        "cancellation_details": details,
        "ended_at": now,
        "pause_collection": None,
    }
    for bill in world.of("invoice", "customer", subscription["customer"]):
        if bill["status"] in {"draft", "open"} and invoice.subscription_of(world, bill) is subscription:
            bill |= {"auto_advance": False, "next_payment_attempt": None}
    world.emit("customer.subscription.deleted", subscription)


def default_method(world: World, subscription: Object) -> Object | None:
    """What its invoices are paid with when nobody is there: its own method, else the customer's."""
    customer = world.get("customer", subscription["customer"])
    own, general = subscription["default_payment_method"], customer.get("invoice_settings", {})
    for named in (own, general.get("default_payment_method")):
        method = world.objects.get("payment_method", {}).get(named)
        if method is not None and method["customer"] == customer["id"]:
            return method
    return None


def _takes_over(world: World, subscription: Object) -> bool:
    """Whether the method of a payment becomes its default: it does so after Checkout, and where that was asked for."""
    if subscription["default_payment_method"] is not None:
        return False
    asked: bool = subscription["payment_settings"]["save_default_payment_method"] == "on_subscription"
    return asked or subscription["id"] in world.keep("session_of_subscription")


def _note_delinquent(world: World, subscription: Object, *, late: bool) -> None:
    world.change(world.get("customer", subscription["customer"]), "customer.updated", {"delinquent": late})
