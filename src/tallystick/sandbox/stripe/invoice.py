"""Invoices: draft, then open, then paid, void or uncollectible. Who pays them is decided in `collection`."""

from tallystick.sandbox.stripe import invoice_payment, payment_intent
from tallystick.sandbox.stripe.amount import least_charge
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.invoice_fields import defaults
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_STATUSES = ("draft", "open", "paid", "uncollectible", "void")
_PURPOSES = {"subscription_create": "Subscription creation", "subscription_cycle": "Subscription update"}


def draft(
    world: World, subscription: Object, lines: list[Object], reason: str, period: tuple[int, int] | None = None
) -> Object:
    """Stores a draft. Its event is the caller's to emit, after that of the subscription it belongs to."""
    identifier, now = world.identifiers.new("in_"), world.now()
    customer = world.get("customer", subscription["customer"])
    total = sum(line["amount"] for line in lines)
    for line in lines:
        line["invoice"] = identifier
    details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    made = defaults(identifier, now) | {
        "amount_due": max(total, 0),
        "amount_remaining": max(total, 0),
        "billing_reason": reason,
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_tax_exempt": customer["tax_exempt"],
        "default_payment_method": None,
        "lines": {
            "object": "list",
            "data": lines,
            "has_more": False,
            "total_count": len(lines),
            "url": f"/v1/invoices/{identifier}/lines",
        },
        "parent": {"type": "subscription_details", "quote_details": None, "subscription_details": details},
        "period_end": period[1] if period else now,
        "period_start": period[0] if period else now,
        "starting_balance": customer["balance"],
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_excluding_tax": total,
    }
    for line in lines:
        waited = ((line["parent"] or {}).get("invoice_item_details") or {}).get("invoice_item")
        if waited is not None:
            world.get("invoiceitem", waited)["invoice"] = identifier
    return world.add(made)


def finalize(world: World, invoice: Object) -> None:
    """Gives it a number and takes the customer's balance into account; from here on somebody can pay it. What is
    too little to be charged goes to the balance, like a total below zero."""
    if invoice["status"] != "draft":
        raise Refusal(400, "This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    customer, now = world.get("customer", invoice["customer"]), world.now()
    owed = invoice["total"] + customer["balance"]
    due = owed if owed >= least_charge(invoice["currency"]) else 0
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "automatically_finalizes_at": None,
        "effective_at": now,
        "ending_balance": owed - due,
        "hosted_invoice_url": f"{world.base_url}/c/invoice/{invoice['id']}",
        "invoice_pdf": f"{world.base_url}/c/invoice/{invoice['id']}",
        "number": f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}",
        "starting_balance": customer["balance"],
        "status": "open",
    }
    invoice["status_transitions"]["finalized_at"] = now
    customer["next_invoice_sequence"] += 1
    world.change(customer, "customer.updated", {"balance": owed - due})
    if due:
        described = dict.fromkeys(("receipt_email", "statement_descriptor", "statement_descriptor_suffix"))
        described["description"] = _PURPOSES.get(invoice["billing_reason"], "Subscription update")
        # An invoice's payment knows nothing of the subscription's metadata.
        described |= {"metadata": {}, "setup_future_usage": _kept_for_later(invoice)}
        kinds = ["card", "us_bank_account"]
        intent = payment_intent.make(
            world, due, invoice["currency"], customer=customer["id"], kinds=kinds, described=described
        )
        invoice_payment.make(world, invoice, intent)
    world.emit("invoice.finalized", invoice)


def settle(world: World, invoice: Object, *, charged: bool = True) -> None:
    """It is paid: by a payment, or outside of Stripe, or because nothing was due."""
    transitions = {**invoice["status_transitions"], "paid_at": world.now()}
    changes: Object = {
        "amount_paid": invoice["amount_due"],
        "amount_paid_off_stripe": 0 if charged else invoice["amount_due"],
        "amount_remaining": 0,
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "paid",
        "status_transitions": transitions,
    }
    world.change(invoice, "invoice.updated", changes)
    world.emit("invoice.paid", invoice)
    world.emit("invoice.payment_succeeded", invoice)


def close(world: World, invoice: Object, status: str, reason: str | None = None) -> None:
    """Nobody is going to pay it: `void` or `uncollectible`."""
    field, event = (
        ("voided_at", "invoice.voided")
        if status == "void"
        else ("marked_uncollectible_at", "invoice.marked_uncollectible")
    )
    allowed = {"open", "uncollectible"} if status == "void" else {"open", "draft"}
    if invoice["status"] not in allowed:
        message = f"You can only pass in open invoices. This invoice isn't open: its status is {invoice['status']}."
        raise Refusal(400, message, code="invoice_not_open")
    if status == "void":
        drop_payment(world, invoice)
    else:
        invoice["status_details"] = {"uncollectible": {"reason": reason or "user_forgiven"}}
    invoice |= {"auto_advance": False, "next_payment_attempt": None, "status": status}
    invoice["status_transitions"][field] = world.now()
    world.emit(event, invoice)


def drop_payment(world: World, invoice: Object) -> None:
    """Cancels the intent that was to pay it."""
    for made in invoice_payment.of_invoice(world, invoice["id"]):
        intent = world.get("payment_intent", made["payment"]["payment_intent"])
        if intent["status"] == "processing":
            raise Refusal(400, "The payment of this invoice is processing.", code="payment_intent_unexpected_state")
        if made["status"] == "open":
            invoice_payment.cancel(world, made)
            payment_intent.call_off(world, intent, "void_invoice")


def subscription_of(world: World, invoice: Object) -> Object:
    return world.get("subscription", invoice["parent"]["subscription_details"]["subscription"])


def intent_of(world: World, invoice: Object) -> Object | None:
    """The intent that pays it, None when nothing was due."""
    payments = invoice_payment.of_invoice(world, invoice["id"])
    return world.get("payment_intent", payments[0]["payment"]["payment_intent"]) if payments else None


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("invoice", call.id)


def update(call: Call) -> Object:
    invoice = call.world.get("invoice", call.id)
    changed: Object = {"metadata": merged(invoice["metadata"], call.parameters.metadata())}
    if call.parameters.has("description"):
        changed["description"] = call.parameters.text("description")
    advance = call.parameters.flag("auto_advance")
    call.parameters.finish()
    if advance is not None:
        changed["auto_advance"] = advance
    call.world.change(invoice, "invoice.updated", changed)
    return invoice


def list_all(call: Call) -> Object:
    customer, named = call.parameters.text("customer"), call.parameters.text("subscription")
    status = call.parameters.choice("status", _STATUSES)
    if customer is None and named is not None:
        customer = call.world.get("subscription", named, param="subscription")["customer"]
    found = call.world.all("invoice") if customer is None else call.world.of("invoice", "customer", customer)
    return page(
        call,
        found,
        keep=lambda row: (
            status in {None, row["status"]} and named in {None, row["parent"]["subscription_details"]["subscription"]}
        ),
    )


def list_lines(call: Call) -> Object:
    return page(call, call.world.get("invoice", call.id)["lines"]["data"])


def _kept_for_later(invoice: Object) -> str | None:
    return "off_session" if invoice["billing_reason"] == "subscription_create" else None


routes = (
    Route("GET", "/v1/invoices", list_all),
    Route("GET", "/v1/invoices/{id}", retrieve),
    Route("POST", "/v1/invoices/{id}", update),
    Route("GET", "/v1/invoices/{id}/lines", list_lines),
)
