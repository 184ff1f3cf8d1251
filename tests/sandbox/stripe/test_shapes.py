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
    "event": set(),
    "price": {"currency_options", "deleted", "tiers"},
    "product": {"deleted"},
    "balance_transaction": set(),
    "item": {"discounts", "taxes"},
    "webhook_endpoint": {"deleted", "secret"},
    "balance": {"connect_reserved", "instant_available", "issuing"},
}


def declared(cls: type[stripe.StripeObject]) -> set[str]:
    return {name for name in cls.__annotations__ if not name.startswith("_") and name != "OBJECT_NAME"}


def check(shown: stripe.StripeObject) -> None:
    fields = set(shown.to_dict())
    wanted = declared(type(shown))
    optional = ON_REQUEST[shown["object"]]
    assert fields <= wanted, f"{shown['object']} shows fields unknown to the SDK: {fields - wanted}"
    assert wanted - fields <= optional, f"{shown['object']} lacks {wanted - fields - optional}"


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


async def test_a_payment_method_has_only_declared_fields(sandbox, shop):
    customer = shop.v1.customers.create({})
    method = shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    assert set(method.to_dict()) <= declared(stripe.PaymentMethod)
    assert set(method.card.to_dict()) <= declared(stripe.PaymentMethod.Card)
