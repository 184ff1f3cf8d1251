"""What a subscription is billed for: licensed items ahead, metered ones in arrears, changes of plan when they wait."""

from tallystick.sandbox.stripe import arrears, collection, invoice, invoice_line, pending_item
from tallystick.sandbox.stripe.subscription_item import is_metered
from tallystick.sandbox.stripe.world import Object, World


def period(subscription: Object) -> tuple[int, int]:
    """The running period. All items share it: their prices recur at the same interval."""
    item = subscription["items"]["data"][0]
    return item["current_period_start"], item["current_period_end"]


def ahead(world: World, items: list[Object]) -> list[Object]:
    """Lines for the period that the items are in now."""
    return [
        invoice_line.for_period(world, item, item["current_period_start"], item["current_period_end"])
        for item in items
        if not is_metered(item)
    ]


def waiting(world: World, subscription: Object) -> list[Object]:
    """Lines for the changes of plan that no invoice has taken up yet."""
    return [invoice_line.for_pending(world, pending) for pending in pending_item.waiting(world, subscription)]


def settle_up(world: World, subscription: Object, *, credit: list[Object] | None = None) -> None:
    """The last invoice of a subscription that ends: usage, and whatever waits, when there is any."""
    items, now = subscription["items"]["data"], world.now()
    lines = [
        *arrears.lines(world, items, subscription["customer"], now),
        *waiting(world, subscription),
        *(credit or []),
    ]
    if any(line["amount"] for line in lines):
        bill = invoice.draft(world, subscription, lines, "subscription_cycle", period(subscription))
        subscription["latest_invoice"] = bill["id"]
        collection.issue(world, bill)
