"""Objects have exactly the fields that the official SDK declares for its API version."""

import stripe

from tallystick.sandbox.stripe.world import API_VERSION

# Declared, but shown by Stripe only on request, for some accounts or for some kinds of payment.
ON_REQUEST = {
    "customer": {"cash_balance", "deleted", "invoice_credit_balance", "sources", "subscriptions", "tax", "tax_ids"},
    "checkout.session": {
        "branding_settings",
        "line_items",
        "managed_payments",
        "name_collection",
        "optional_items",
        "presentment_details",
        "redirect_on_completion",
        "return_url",
        "tax_id_collection",
    },
    "payment_intent": {"hooks", "managed_payments", "payment_details", "payment_record", "presentment_details"},
    "charge": {"authorization_code", "level3", "refunds", "transfer", "presentment_details"},
    "refund": {
        "failure_balance_transaction",
        "failure_reason",
        "instructions_email",
        "next_action",
        "pending_reason",
        "presentment_details",
    },
    "dispute": {"intended_submission_method", "network_reason_code"},
    "Dispute.Evidence": {"appeal"},
    "Dispute.EvidenceDetails": set(),
    "Dispute.PaymentMethodDetails.Card": set(),
    "Refund.DestinationDetails.Card": {"reference"},
    "payout": set(),
    "billing.meter": set(),
    "billing.meter_event": set(),
    "billing.meter_event_adjustment": set(),
    "billing.meter_event_summary": set(),
    "event": set(),
    "price": {"currency_options", "deleted", "tiers"},
    "product": {"deleted"},
    "balance_transaction": set(),
    "item": {"discounts", "taxes"},
    "subscription": {"presentment_details"},
    "subscription_item": {"billing_thresholds", "deleted"},
    "plan": {"deleted", "tiers"},
    "invoice": {"confirmation_secret", "deleted", "payments", "threshold_reason"},
    "line_item": set(),
    "invoice_payment": set(),
    "invoiceitem": {"deleted"},
    "billing_portal.session": set(),
    "billing_portal.configuration": set(),
    "Configuration.Features": set(),
    "Configuration.Features.SubscriptionUpdate": set(),
    "Configuration.Features.SubscriptionCancel": set(),
    "Invoice.Parent": set(),
    "InvoiceLineItem.Parent": set(),
    "InvoiceLineItem.Parent.SubscriptionItemDetails": set(),
    "InvoiceLineItem.Parent.InvoiceItemDetails": set(),
    "Subscription.TrialSettings.EndBehavior": set(),
    "webhook_endpoint": {"deleted", "secret"},
    "balance": {"connect_reserved", "instant_available", "issuing"},
}


def declared(cls: type[stripe.StripeObject]) -> set[str]:
    return {name for name in cls.__annotations__ if not name.startswith("_") and name != "OBJECT_NAME"}


def check(shown: stripe.StripeObject) -> None:
    fields = set(shown.to_dict())
    wanted = declared(type(shown))
    name = shown.to_dict().get("object", type(shown).__qualname__)
    optional = ON_REQUEST[name]
    assert fields <= wanted, f"{name} shows fields unknown to the SDK: {fields - wanted}"
    assert wanted - fields <= optional, f"{name} lacks {wanted - fields - optional}"


def test_the_version_is_the_sdk_s():
    assert stripe.api_version == API_VERSION


async def test_every_object_has_the_declared_fields(sandbox, shop, checkout):
    customer = shop.v1.customers.create({"email": "shape@example.com"})
    session = shop.v1.checkout.sessions.create({**checkout, "customer": customer.id})
    check(customer)
    check(session)
    await sandbox.control(f"checkout/{session.id}/pay")
    session = shop.v1.checkout.sessions.retrieve(session.id)
    intent = shop.v1.payment_intents.retrieve(session.payment_intent, {"expand": ["latest_charge.balance_transaction"]})
    item = shop.v1.checkout.sessions.line_items.list(session.id).data[0]
    refund = shop.v1.refunds.create({"payment_intent": intent.id})
    event = shop.v1.events.list({"limit": 1}).data[0]
    endpoint = shop.v1.webhook_endpoints.create({"url": "http://127.0.0.1:9/", "enabled_events": ["nothing"]})
    charge = intent.latest_charge
    product = shop.v1.products.retrieve(item.price.product)
    for shown in (
        session,
        intent,
        charge,
        charge.balance_transaction,
        item,
        item.price,
        product,
        refund,
        event,
        endpoint,
    ):
        check(shown)
    check(shop.v1.balance.retrieve())


async def test_what_money_does_later_has_the_declared_fields(sandbox, shop):
    asked = {"amount": 2500, "currency": "usd", "confirm": True}
    paid = shop.v1.payment_intents.create({**asked, "payment_method": "pm_card_bypassPending"})
    refund = shop.v1.refunds.create({"payment_intent": paid.id, "amount": 100})
    await sandbox.control(f"refunds/{refund.id}/fail")
    disputed = shop.v1.payment_intents.create({**asked, "payment_method": "pm_card_createDispute"})
    dispute = shop.v1.disputes.list({"payment_intent": disputed.id}).data[0]
    shop.v1.payment_intents.create({**asked, "amount": 99_999_999, "payment_method": "pm_card_bypassPending"})
    payout = (await sandbox.control("payouts"))["payouts"][0]["id"]
    found = shop.v1.refunds.retrieve(refund.id, {"expand": ["failure_balance_transaction"]})
    for shown in (
        found,
        found.failure_balance_transaction,
        found.destination_details.card,
        dispute,
        dispute.balance_transactions[0],
        dispute.evidence,
        dispute.evidence_details,
        dispute.payment_method_details.card,
        shop.v1.payouts.retrieve(payout),
    ):
        check(shown)


async def test_meters_have_the_declared_fields(sandbox, shop):
    customer = shop.v1.customers.create({})
    named = {"display_name": "Shapes", "event_name": "shapes", "default_aggregation": {"formula": "sum"}}
    meter = shop.v1.billing.meters.create(named)
    payload = {"stripe_customer_id": customer.id, "value": "1"}
    event = shop.v1.billing.meter_events.create({"event_name": "shapes", "payload": payload})
    hour = customer.created // 3600 * 3600
    span = {"customer": customer.id, "start_time": hour, "end_time": hour + 7200}
    (summary,) = shop.v1.billing.meters.event_summaries.list(meter.id, span).data
    cancel = {"event_name": "shapes", "type": "cancel", "cancel": {"identifier": event.identifier}}
    for shown in (meter, event, summary, shop.v1.billing.meter_event_adjustments.create(cancel)):
        check(shown)


def test_what_recurs_has_the_declared_fields(stand):
    made = stand.subscribe(stand.payer(), stand.price(2000))
    (item,) = made["items"].data
    change = {"items": [{"id": item.id, "price": stand.price(5000).id}], "proration_behavior": "create_prorations"}
    stand.v1.subscriptions.update(made.id, change)
    stand.pass_period(made)
    changed = stand.v1.subscriptions.retrieve(made.id, {"expand": ["latest_invoice"]})
    first = stand.v1.invoices.retrieve(made.latest_invoice)
    session = stand.v1.billing_portal.sessions.create({"customer": made.customer, "return_url": "http://127.0.0.1:9/"})
    configuration = stand.v1.billing_portal.configurations.retrieve(session.configuration)
    prorated = changed.latest_invoice.lines.data[0]
    for shown in (
        changed,
        changed.trial_settings.end_behavior,
        changed["items"].data[0],
        changed["items"].data[0].plan,
        changed["items"].data[0].price,
        changed.latest_invoice,
        changed.latest_invoice.parent,
        first,
        first.lines.data[0],
        first.lines.data[0].parent,
        first.lines.data[0].parent.subscription_item_details,
        prorated,
        prorated.parent.invoice_item_details,
        stand.v1.invoice_payments.list({"invoice": first.id}).data[0],
        stand.v1.invoice_items.list({}).data[0],
        session,
        configuration,
        configuration.features,
        configuration.features.subscription_update,
        configuration.features.subscription_cancel,
    ):
        check(shown)


async def test_a_payment_method_has_only_declared_fields(sandbox, shop):
    customer = shop.v1.customers.create({})
    method = shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    assert set(method.to_dict()) <= declared(stripe.PaymentMethod)
    assert set(method.card.to_dict()) <= declared(stripe.PaymentMethod.Card)
