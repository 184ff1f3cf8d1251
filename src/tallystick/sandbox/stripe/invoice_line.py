"""The lines of an invoice: a price for a period, usage in arrears, or time that was paid for and not used."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from tallystick.sandbox.stripe.amount import format_amount, format_fine_amount
from tallystick.sandbox.stripe.world import Object, World


def cost(price: Object, quantity: int | Decimal) -> int:
    """What that many of a price cost, in whole minor units."""
    return _whole(Decimal(price["unit_amount_decimal"]) * quantity)


def share(amount: int, part_s: int, whole_s: int) -> int:
    """The part of an amount that belongs to a part of its time, in whole minor units."""
    return _whole(Decimal(amount) * part_s / whole_s)


def for_period(world: World, item: Object, start: int, end: int) -> Object:
    """A licensed item, paid ahead."""
    price, quantity = item["price"], item["quantity"]
    amount = cost(price, quantity)
    title = f"{quantity} x {_named(world, price)} (at {unit_price(price)} / {rhythm(price)})"
    return make(world, amount, price, quantity, title, (start, end), of_item(item))


def for_trial(world: World, item: Object, start: int, end: int) -> Object:
    price = item["price"]
    title = f"Trial period for {_named(world, price)}"
    return make(world, 0, price, item.get("quantity", 1), title, (start, end), of_item(item))


def for_usage(world: World, item: Object, used: int, start: int, end: int) -> Object:
    """A metered item, paid when its period is over."""
    made = make(world, 0, item["price"], used, "", (start, end), of_item(item))
    return made | of_usage(world, item["price"], used)


def of_usage(world: World, price: Object, used: int) -> Object:
    """The fields of a line that depend on how much was used."""
    amount, title = cost(price, used), f"{used} x {_named(world, price)} (at {unit_price(price)} / {rhythm(price)})"
    return {
        "amount": amount,
        "description": title,
        "quantity": used,
        "quantity_decimal": str(used),
        "subtotal": amount,
    }


def for_sale(world: World, price: Object, quantity: int, subscription: str) -> Object:
    """Something sold once together with a subscription."""
    now = world.now()
    made = make(world, cost(price, quantity), price, quantity, _named(world, price), (now, now), None)
    return {**made, "subscription": subscription}


def for_pending(world: World, pending: Object) -> Object:
    """An invoice item that waited for this invoice."""
    details = pending["parent"]["subscription_details"]
    parent = {
        "type": "invoice_item_details",
        "invoice_item_details": {
            "invoice_item": pending["id"],
            "proration": pending["proration"],
            "proration_details": {"credited_items": None},
            "subscription": details["subscription"],
        },
        "subscription_item_details": None,
    }
    period = (pending["period"]["start"], pending["period"]["end"])
    price = world.get("price", pending["pricing"]["price_details"]["price"])
    return make(world, pending["amount"], price, pending["quantity"], pending["description"], period, parent)


def make(
    world: World,
    amount: int,
    price: Object,
    quantity: int,
    description: str,
    period: tuple[int, int],
    parent: Object | None,
) -> Object:
    details = (parent or {}).get("subscription_item_details") or (parent or {}).get("invoice_item_details") or {}
    return {
        "id": world.identifiers.new("il_"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": not details.get("proration", False),
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "parent": parent,
        "period": {"end": period[1], "start": period[0]},
        "pretax_credit_amounts": [],
        "pricing": pricing(price),
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": details.get("subscription"),
        "subtotal": amount,
        "taxes": [],
    }


def pricing(price: Object) -> Object:
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def of_item(item: Object) -> Object:
    """The parent of a line that bills a subscription item."""
    return {
        "type": "subscription_item_details",
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": False,
            "proration_details": {"credited_items": None},
            "subscription": item["subscription"],
            "subscription_item": item["id"],
        },
    }


def day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")


def _whole(exact: Decimal) -> int:
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def _named(world: World, price: Object) -> str:
    return str(world.get("product", price["product"])["name"])


def unit_price(price: Object) -> str:
    """What one of it costs, as a person reads it: $0.50, or $0.000002."""
    if price["unit_amount"] is not None:
        return format_amount(price["unit_amount"], price["currency"])
    return format_fine_amount(Decimal(str(price["unit_amount_decimal"])), price["currency"])


def rhythm(price: Object) -> str:
    interval, count = price["recurring"]["interval"], price["recurring"]["interval_count"]
    return str(interval) if count == 1 else f"{count} {interval}s"
