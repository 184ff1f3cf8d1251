"""Collecting an invoice: the attempts to have it paid, by whom, and how often it is tried again.

The events of its payment intent lead here (`follow`), whoever confirmed that: a renewal, the API, or a page.
"""

from typing import Final

from tallystick.sandbox.stripe import arrears, instrument, invoice, invoice_payment, payment, standing
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.payment_method import resolve
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_DAY_S: Final = 24 * 3600
# After each failed attempt, until the next one: three retries in a week.
RETRIES_S: Final = (1 * _DAY_S, 2 * _DAY_S, 4 * _DAY_S)
_DRAFT_S: Final = 3600
_PAYMENT: Final = "payment_intent."


def issue(world: World, bill: Object, *, attempt: bool = True, wait: bool = False) -> None:
    """Takes a new draft as far as it goes by itself: at a renewal after an hour, in which late usage can be told."""
    subscription = invoice.subscription_of(world, bill)
    paused = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (paused and paused["behavior"] == "keep_as_draft"):
        bill["auto_advance"] = False
    elif wait:
        bill["automatically_finalizes_at"] = world.now() + _DRAFT_S
        world.later(bill["automatically_finalizes_at"], "invoice.finalize", bill["id"])
    world.emit("invoice.created", bill)
    if bill["auto_advance"] and not wait:
        _advance(world, bill, attempt=attempt)


def advance_due(world: World, named: str) -> None:
    """The hour of a draft is over, unless somebody was faster."""
    bill = world.get("invoice", named)
    if bill["status"] == "draft" and bill["auto_advance"]:
        _advance(world, bill, attempt=True)


def _advance(world: World, bill: Object, *, attempt: bool) -> None:
    paused = invoice.subscription_of(world, bill)["pause_collection"]
    finalize(world, bill)
    if bill["status"] == "open" and paused:
        invoice.close(world, bill, "void" if paused["behavior"] == "void" else "uncollectible", "subscription_paused")
    elif bill["status"] == "open" and attempt:
        collect(world, bill)


def finalize(world: World, bill: Object) -> None:
    """Opens a draft. When nothing is due it is paid already."""
    if bill["status"] == "draft":
        arrears.recount(world, bill)
    invoice.finalize(world, bill)
    if bill["amount_due"] == 0:
        invoice.settle(world, bill)
        standing.paid(world, invoice.subscription_of(world, bill), bill, None)


def collect(world: World, bill: Object, method: Object | None = None, *, present: bool = False) -> None:
    """Tries to have an open invoice paid: by this method, or by the default one. `present` says that the customer
    is there and can answer a bank's question."""
    intent = invoice.intent_of(world, bill)
    if bill["status"] != "open" or intent is None or intent["status"] == "processing":
        return
    method = method or standing.default_method(world, invoice.subscription_of(world, bill))
    bill |= {"attempted": True, "attempt_count": bill["attempt_count"] + 1}
    if method is None:
        _failed(world, bill)
    else:
        payment.attempt(world, intent, method, present=present)


def follow(world: World, event: Object) -> None:
    """Told of every event: brings an invoice and its subscription up to date with the payment."""
    kind, intent = event["type"], event["data"]["object"]
    made = invoice_payment.of_intent(world, intent["id"]) if kind.startswith(_PAYMENT) else None
    if made is None:
        return
    bill = world.get("invoice", made["invoice"])
    subscription = invoice.subscription_of(world, bill)
    if kind == "payment_intent.succeeded":
        invoice_payment.settle(world, made)
        invoice.settle(world, bill)
        standing.paid(world, subscription, bill, world.get("payment_method", intent["payment_method"]))
    elif kind == "payment_intent.processing" and subscription["status"] == "incomplete":
        # A bank debit that is under way is enough to begin with, and not enough to make good.
        standing.paid(world, subscription, bill, world.get("payment_method", intent["payment_method"]))
    elif kind == "payment_intent.requires_action":
        world.emit("invoice.payment_action_required", bill)
        standing.unpaid(world, subscription, bill)
    elif kind == "payment_intent.payment_failed":
        if intent["last_payment_error"]["code"] == instrument.NOT_AUTHENTICATED.code:
            world.emit("invoice.payment_action_required", bill)
        _failed(world, bill)


def retry(world: World, named: str) -> None:
    """A retry falls due, unless the invoice was paid or given up meanwhile."""
    bill = world.get("invoice", named)
    planned = bill["next_payment_attempt"]
    if bill["status"] == "open" and planned is not None and planned <= world.now():
        collect(world, bill)


def _failed(world: World, bill: Object) -> None:
    subscription, now = invoice.subscription_of(world, bill), world.now()
    planned, retries = bill["next_payment_attempt"], world.keep("invoice_retries")
    done = retries.get(bill["id"], 0)
    # What the customer tried in between changes nothing about the plan.
    by_plan = planned <= now if planned is not None else done == 0
    alive = subscription["status"] not in {"incomplete", *standing.ENDED}
    given_up = alive and by_plan and done == len(RETRIES_S)
    following = planned
    if given_up or not alive:
        following = None
    elif by_plan:
        following = now + RETRIES_S[done]
        retries[bill["id"]] = done + 1
        world.later(following, "invoice.retry", bill["id"])
    bill["next_payment_attempt"] = following
    before = bill["attempt_count"] - 1
    previous: Object = {"attempt_count": before}
    if not before:
        previous["attempted"] = False
    if planned != following:
        previous["next_payment_attempt"] = planned
    world.emit("invoice.updated", bill, previous=previous)
    world.emit("invoice.payment_failed", bill)
    standing.unpaid(world, subscription, bill)
    if given_up:
        standing.give_up(world, subscription, bill)


def pay(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    bill, named = world.get("invoice", call.id), parameters.text("payment_method")
    outside, off_session = parameters.flag("paid_out_of_band"), parameters.flag("off_session")
    parameters.finish()
    if bill["status"] == "draft":
        finalize(world, bill)
        if bill["status"] == "paid":
            return bill
    if bill["status"] == "paid":
        raise Refusal(400, "Invoice is already paid", code="invoice_already_paid")
    if bill["status"] not in {"open", "uncollectible"}:
        raise Refusal(400, f"This invoice is {bill['status']} and cannot be paid.", code="invoice_not_open")
    if outside:
        invoice.drop_payment(world, bill)
        invoice.settle(world, bill, charged=False)
        standing.paid(world, invoice.subscription_of(world, bill), bill, None)
        return bill
    method = resolve(world, named, "payment_method") if named else None
    method = method or standing.default_method(world, invoice.subscription_of(world, bill))
    if method is not None and method["customer"] not in {None, bill["customer"]}:
        message = "The provided PaymentMethod belongs to another Customer than the invoice."
        raise Refusal(400, message, param="payment_method")
    if method is None:
        message = "There is no `default_payment_method` set on this Customer or Invoice."
        raise Refusal(400, message, code="missing")
    pay_by_hand(world, bill, method, present=off_session is False)
    return bill


def pay_by_hand(world: World, bill: Object, method: Object, *, present: bool) -> None:
    """Somebody pays an invoice now. Raises Refusal when the bank says no."""
    if bill["status"] == "uncollectible":
        bill["status"] = "open"
    collect(world, bill, method, present=present)
    intent = invoice.intent_of(world, bill)
    if intent is not None and intent["last_payment_error"] is not None:
        raise payment.declined(intent)


def finalize_now(call: Call) -> Object:
    call.parameters.flag("auto_advance")
    call.parameters.finish()
    bill = call.world.get("invoice", call.id)
    finalize(call.world, bill)
    return bill


def void(call: Call) -> Object:
    return _close(call, "void")


def mark_uncollectible(call: Call) -> Object:
    return _close(call, "uncollectible")


def _close(call: Call, status: str) -> Object:
    bill = call.world.get("invoice", call.id)
    call.parameters.finish()
    invoice.close(call.world, bill, status)
    standing.forgiven(call.world, invoice.subscription_of(call.world, bill), bill)
    return bill


routes = (
    Route("POST", "/v1/invoices/{id}/pay", pay),
    Route("POST", "/v1/invoices/{id}/finalize", finalize_now),
    Route("POST", "/v1/invoices/{id}/void", void),
    Route("POST", "/v1/invoices/{id}/mark_uncollectible", mark_uncollectible),
)
