"""A subscription begins, by the API or by Checkout: both come through here."""

from dataclasses import dataclass, field
from typing import Literal

from tallystick.sandbox.stripe import billing, collection, invoice, invoice_line, recurring, renewal, subscription_item
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.standing import change, default_method
from tallystick.sandbox.stripe.subscription_fields import defaults
from tallystick.sandbox.stripe.subscription_item import Wanted
from tallystick.sandbox.stripe.world import Object, World


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed. `extras` are prices sold once, with the first invoice; `fields` go into the object as they
    are. `attempt` says whether the first invoice is tried to be paid at once by the default method."""

    customer: str
    items: list[Wanted]
    trial_end: int | None = None
    extras: list[tuple[Object, int]] = field(default_factory=list)
    fields: Object = field(default_factory=dict)
    attempt: bool = True


def start(world: World, terms: Terms) -> Object:
    now, identifier = world.now(), world.identifiers.new("sub_")
    rhythm = terms.items[0].price["recurring"]
    end = terms.trial_end or recurring.after(now, rhythm["interval"], rhythm["interval_count"])
    status: Literal["trialing", "incomplete"] = "trialing" if terms.trial_end else "incomplete"
    made = defaults(identifier, now) | terms.fields
    made |= {
        "billing_cycle_anchor": terms.trial_end or now,
        "currency": terms.items[0].price["currency"],
        "customer": terms.customer,
        "items": _listed(identifier, [subscription_item.make(world, identifier, one, now, end) for one in terms.items]),
        "status": status,
    }
    if terms.trial_end:
        made |= {"trial_end": terms.trial_end, "trial_start": now}
    if made["cancel_at_period_end"]:
        made |= {"cancel_at": end, "canceled_at": now}
    bill = _first_invoice(world, world.add(made), terms)
    made["latest_invoice"] = None if bill is None else bill["id"]
    world.emit("customer.subscription.created", made)
    if bill is not None:
        collection.issue(world, bill, attempt=terms.attempt)
    elif status == "incomplete":
        # Nothing but metered prices: the first invoice comes when there is usage to bill.
        change(world, made, status="active")
    renewal.plan(world, made)
    return made


def check_method(world: World, terms: Terms, *, amount: int) -> None:
    """Refuses, as Stripe does, a subscription that begins with an invoice nobody could pay."""
    if amount == 0 or not terms.attempt:
        return
    imagined = {"customer": terms.customer, "default_payment_method": terms.fields.get("default_payment_method")}
    if default_method(world, imagined) is None:
        message = (
            "This customer has no attached payment source or default payment method. "
            "Please consider adding a default payment method."
        )
        raise Refusal(400, message, code="resource_missing")


def amount_now(terms: Terms) -> int:
    """What the first invoice asks for."""
    licensed = 0 if terms.trial_end else sum(invoice_line.cost(one.price, one.quantity or 0) for one in terms.items)
    return licensed + sum(invoice_line.cost(price, quantity) for price, quantity in terms.extras)


def _first_invoice(world: World, made: Object, terms: Terms) -> Object | None:
    items = made["items"]["data"]
    if terms.trial_end:
        lines = [invoice_line.for_trial(world, item, world.now(), terms.trial_end) for item in items]
    else:
        lines = billing.ahead(world, items)
    lines += [invoice_line.for_sale(world, price, quantity, made["id"]) for price, quantity in terms.extras]
    return invoice.draft(world, made, lines, "subscription_create") if lines else None


def _listed(identifier: str, items: list[Object]) -> Object:
    return {
        "object": "list",
        "data": items,
        "has_more": False,
        "total_count": len(items),
        "url": f"/v1/subscription_items?subscription={identifier}",
    }
