"""What metered items were used: billed when their period is over, and counted again until the invoice is final."""

from tallystick.sandbox.stripe import invoice_line, meter_usage
from tallystick.sandbox.stripe.subscription_item import is_metered
from tallystick.sandbox.stripe.world import Object, World


def lines(world: World, items: list[Object], customer: str, until: int) -> list[Object]:
    """Lines for what the metered items among these were used since they were billed last."""
    return [
        invoice_line.for_usage(world, item, usage(world, item, customer, until), _start(item), until)
        for item in items
        if is_metered(item)
    ]


def usage(world: World, item: Object, customer: str, until: int) -> int:
    return _used(world, item["price"], customer, _start(item), until)


def recount(world: World, bill: Object) -> None:
    """Takes into a draft what was told after the end of the period of it."""
    for line in bill["lines"]["data"]:
        parent, details = line["parent"] or {}, line["pricing"]["price_details"]
        price = world.get("price", details["price"])
        item = (parent.get("subscription_item_details") or {}).get("subscription_item")
        if item is None or (price["recurring"] or {}).get("usage_type") != "metered":
            continue
        used = _used(world, price, bill["customer"], line["period"]["start"], line["period"]["end"])
        line.update(invoice_line.of_usage(world, price, used))
    total = sum(line["amount"] for line in bill["lines"]["data"])
    bill |= {"subtotal": total, "subtotal_excluding_tax": total, "total": total, "total_excluding_tax": total}


def _used(world: World, price: Object, customer: str, start: int, end: int) -> int:
    """Corrections may outweigh what was used: then it is nothing."""
    meter = world.get("billing.meter", price["recurring"]["meter"])
    return max(0, meter_usage.value(world, meter, customer, start, end))


def _start(item: Object) -> int:
    return max(int(item["current_period_start"]), int(item["billed_until"] or 0))
