"""A change of plan in the middle of a period: what was paid for and not used goes back, the rest of the new is owed.

Reckoned by the second, in whole minor units. It waits for the next invoice, or gets one of its own.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tallystick.sandbox.stripe import (
    arrears,
    billing,
    collection,
    invoice,
    invoice_line,
    pending_item,
    price,
    renewal,
    standing,
    subscription_item,
)
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import invalid_parameter
from tallystick.sandbox.stripe.subscription_item import is_metered
from tallystick.sandbox.stripe.world import Object, World

Behavior: TypeAlias = Literal["create_prorations", "always_invoice", "none"]
BEHAVIORS: tuple[Behavior, ...] = ("create_prorations", "always_invoice", "none")


@dataclass(frozen=True, slots=True)
class Edit:
    """One entry of `items`: an item that stays (`present`), perhaps with another price or quantity; one that goes;
    or, without `present`, one that is new."""

    present: Object | None
    wanted: subscription_item.Wanted | None


def read(world: World, subscription: Object, parameters: Parameters) -> list[Edit]:
    """What `items` asks for, nothing of it done yet. Items that are not named stay as they are."""
    edits = [_read_one(world, subscription, given) for given in parameters.levels("items")]
    named = {edit.present["id"] for edit in edits if edit.present is not None}
    left = [item["price"] for item in subscription["items"]["data"] if item["id"] not in named]
    prices = left + [edit.wanted.price for edit in edits if edit.wanted is not None]
    if edits and not prices:
        raise invalid_parameter("items", "A subscription must have at least one active plan.")
    subscription_item.check(prices, "items")
    return edits


def apply(world: World, subscription: Object, edits: list[Edit], behavior: Behavior, *, anchor_now: bool) -> None:
    """Changes the items. The cycle starts anew when it was asked to, when the interval changes, and when what was
    free begins to cost something."""
    old, now = subscription["items"]["data"], world.now()
    new = _edited(world, subscription, edits)
    shown = {**subscription["items"], "data": new, "total_count": len(new)}
    if subscription["status"] in {"trialing", "paused", "incomplete"}:
        standing.change(world, subscription, items=shown)
        return
    if anchor_now or _rhythm(old) != _rhythm(new) or (_worth(old) == 0 < _worth(new)):
        lines = _credits(world, subscription, old, behavior)
        lines += arrears.lines(world, old, subscription["customer"], now)
        renewal.begin_period(world, subscription, anchor=now, items=new, lines=lines)
        return
    _note_differences(world, subscription, old, new, behavior)
    if behavior == "always_invoice" and (lines := billing.waiting(world, subscription)):
        bill = invoice.draft(world, subscription, lines, "subscription_update")
        standing.change(world, subscription, items=shown, latest_invoice=bill["id"])
        collection.issue(world, bill)
    else:
        standing.change(world, subscription, items=shown)


def unused(world: World, subscription: Object, item: Object) -> int:
    """The part of an item's price that belongs to the rest of its period."""
    start, end = billing.period(subscription)
    if is_metered(item) or end <= start:
        return 0
    return invoice_line.share(
        invoice_line.cost(item["price"], item["quantity"]), max(end - world.now(), 0), end - start
    )


def give_back(world: World, subscription: Object) -> None:
    """What is unused of everything waits for the next invoice as a credit: a trial follows what was paid for."""
    _, end = billing.period(subscription)
    for item in subscription["items"]["data"]:
        if amount := unused(world, subscription, item):
            text = f"Unused time on {_title(world, item)} after {invoice_line.day(world.now())}"
            pending_item.add(world, subscription, item, -amount, text, end)


def credit_lines(world: World, subscription: Object) -> list[Object]:
    """Lines that give back what is unused of everything: the subscription ends before its period does."""
    return _credits(world, subscription, subscription["items"]["data"], "create_prorations")


def _read_one(world: World, subscription: Object, given: Parameters) -> Edit:
    named, deleted = given.text("id"), given.flag("deleted")
    given.flag("clear_usage")
    if named is None:
        return Edit(None, subscription_item.read_one(world, given))
    present = next((item for item in subscription["items"]["data"] if item["id"] == named), None)
    if present is None:
        raise invalid_parameter(given.name("id"), f"No such subscription item: '{named}'", "resource_missing")
    if deleted:
        return Edit(present, None)
    if given.has("price_data"):
        read_one = subscription_item.read_one(world, given)
        return Edit(present, replace(read_one, metadata=present["metadata"]))
    other = given.text("price")
    found = present["price"] if other is None else subscription_item.usable(world, other, given.name("price"))
    quantity = given.integer("quantity", minimum=0)
    counted = subscription_item.counted(found, present.get("quantity") if quantity is None else quantity, given)
    metadata = merged(present["metadata"], given.metadata())
    return Edit(present, subscription_item.Wanted(found, None, counted, metadata))


def _edited(world: World, subscription: Object, edits: list[Edit]) -> list[Object]:
    start, end = billing.period(subscription)
    by_item = {edit.present["id"]: edit for edit in edits if edit.present is not None}
    items = []
    for item in subscription["items"]["data"]:
        edit = by_item.get(item["id"])
        if edit is None:
            items.append(item)
        elif edit.wanted is not None:
            items.append(_replaced(world, item, edit.wanted))
    added = [edit.wanted for edit in edits if edit.present is None and edit.wanted is not None]
    made = [subscription_item.make(world, subscription["id"], wanted, start, end) for wanted in added]
    # Usage before a metered price came to it is not its to bill.
    return items + [{**item, "billed_until": world.now()} if is_metered(item) else item for item in made]


def _replaced(world: World, item: Object, wanted: subscription_item.Wanted) -> Object:
    found = wanted.price
    if found["id"] not in world.objects.get("price", {}):
        price.store(world, found, wanted.new_product)
    changed = {**item, "metadata": wanted.metadata, "plan": subscription_item.plan(found), "price": found}
    if wanted.quantity is None:
        changed.pop("quantity", None)
        if found["id"] != item["price"]["id"]:
            changed["billed_until"] = world.now()
        return changed
    return {**changed, "quantity": wanted.quantity}


def _note_differences(
    world: World, subscription: Object, old: list[Object], new: list[Object], behavior: Behavior
) -> None:
    """Puts what changed on the list of what waits for an invoice."""
    _, end = billing.period(subscription)
    before, after = {item["id"]: item for item in old}, {item["id"]: item for item in new}
    today = invoice_line.day(world.now())
    for named in [*before, *(named for named in after if named not in before)]:
        was, is_ = before.get(named), after.get(named)
        if was is not None and is_ is not None and _same(was, is_):
            continue
        if was is not None and is_metered(was):
            used = arrears.usage(world, was, subscription["customer"], world.now())
            cost = invoice_line.cost(was["price"], used)
            if cost:
                pending_item.add(world, subscription, was, cost, f"Usage until {today}", world.now())
        elif was is not None and behavior != "none":
            text = f"Unused time on {_title(world, was)} after {today}"
            pending_item.add(world, subscription, was, -unused(world, subscription, was), text, end)
        if is_ is not None and not is_metered(is_) and behavior != "none":
            text = f"Remaining time on {_title(world, is_)} after {today}"
            pending_item.add(world, subscription, is_, unused(world, subscription, is_), text, end)


def _credits(world: World, subscription: Object, items: list[Object], behavior: Behavior) -> list[Object]:
    if behavior == "none":
        return []
    _, end = billing.period(subscription)
    lines = []
    for item in items:
        amount = unused(world, subscription, item)
        if amount:
            text = f"Unused time on {_title(world, item)} after {invoice_line.day(world.now())}"
            parent = invoice_line.of_item(item)
            parent["subscription_item_details"]["proration"] = True
            period = (world.now(), end)
            lines.append(invoice_line.make(world, -amount, item["price"], item["quantity"], text, period, parent))
    return lines


def _title(world: World, item: Object) -> str:
    name, quantity = world.get("product", item["price"]["product"])["name"], item["quantity"]
    return str(name) if quantity == 1 else f"{quantity} x {name}"


def _same(was: Object, is_: Object) -> bool:
    return bool(was["price"]["id"] == is_["price"]["id"] and was.get("quantity") == is_.get("quantity"))


def _rhythm(items: list[Object]) -> tuple[str, int]:
    recurring = items[0]["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _worth(items: list[Object]) -> int:
    return sum(invoice_line.cost(item["price"], item["quantity"]) for item in items if not is_metered(item))
