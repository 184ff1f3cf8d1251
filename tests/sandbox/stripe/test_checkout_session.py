import contextlib
import time

import httpx
import pytest
import stripe


def test_created_as_asked(sandbox, shop, checkout):
    customer = shop.v1.customers.create({"email": "buyer@example.com"})
    session = shop.v1.checkout.sessions.create({**checkout, "customer": customer.id})
    assert session.id.startswith("cs_test_")
    assert session.url == f"{sandbox.address}/c/pay/{session.id}"
    assert (session.amount_total, session.currency) == (2500, "usd")
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert (session.client_reference_id, session.metadata.to_dict()) == ("order_1", {"order": "order_1"})
    assert abs(session.expires_at - time.time() - 24 * 3600) < 60


def test_line_items_are_shown_on_request(shop, checkout):
    product = shop.v1.products.create({"name": "Power"})
    price = shop.v1.prices.create({"currency": "usd", "unit_amount": 10_000, "product": product.id})
    checkout["line_items"].append({"price": price.id, "quantity": 3})
    session = shop.v1.checkout.sessions.create({**checkout, "expand": ["line_items"]})
    assert session.amount_total == 32_500
    assert [(item.description, item.amount_total) for item in session.line_items.data] == [
        ("Standard: 25 credits", 2500),
        ("Power", 30_000),
    ]
    listed = shop.v1.checkout.sessions.line_items.list(session.id, {"limit": 1})
    assert (len(listed.data), listed.has_more) == (1, True)
    assert "line_items" not in shop.v1.checkout.sessions.retrieve(session.id)


def test_one_currency_only(shop, checkout):
    other = {"currency": "eur", "unit_amount": 500, "product_data": {"name": "x"}}
    checkout["line_items"].append({"price_data": other, "quantity": 1})
    with pytest.raises(stripe.InvalidRequestError, match="same currency"):
        shop.v1.checkout.sessions.create(checkout)


async def test_an_intent_appears_with_the_first_attempt_and_carries_its_metadata(sandbox, shop, checkout):
    session = shop.v1.checkout.sessions.create(checkout)
    await sandbox.control(f"checkout/{session.id}/pay", email="buyer@example.com")
    paid = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge"]})
    assert (paid.status, paid.payment_status, paid.url) == ("complete", "paid", None)
    assert paid.customer_details.email == "buyer@example.com"
    intent = paid.payment_intent
    assert (intent.status, intent.amount_received, intent.metadata.to_dict()) == (
        "succeeded",
        2500,
        {"order": "order_1"},
    )
    assert intent.description == "25 credits"
    assert (intent.latest_charge.paid, intent.latest_charge.amount) == (True, 2500)
    found = shop.v1.checkout.sessions.list({"payment_intent": intent.id})
    assert [row.id for row in found.data] == [session.id]


def test_a_feature_can_be_switched_off_but_not_on(shop, checkout):
    off = {"adaptive_pricing": {"enabled": False}, "automatic_tax": {"enabled": False}}
    session = shop.v1.checkout.sessions.create({**checkout, **off})
    assert (session.adaptive_pricing.enabled, session.automatic_tax.enabled) == (False, False)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.checkout.sessions.create({**checkout, "adaptive_pricing": {"enabled": True}})
    assert refused.value.param == "adaptive_pricing[enabled]"


def test_expired_by_request_once(shop, checkout, receiver):
    session = shop.v1.checkout.sessions.create(checkout)
    assert shop.v1.checkout.sessions.expire(session.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="expired"):
        shop.v1.checkout.sessions.expire(session.id)


def test_expires_by_itself(start, checkout):
    with start("tallystick.sandbox.stripe") as address, contextlib.closing(stripe.RequestsClient()) as http_client:
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        session = client.v1.checkout.sessions.create({**checkout, "expires_at": int(time.time()) + 1900})
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 2000})
        assert httpx.post(f"{address}/_sandbox/checkout/{session.id}/pay", json={}).status_code == 400
        assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
        events = client.v1.events.list({"type": "checkout.session.expired"})
        assert [event.data.object["id"] for event in events.data] == [session.id]


def test_only_what_is_expandable_expands(shop, checkout):
    session = shop.v1.checkout.sessions.create(checkout)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["currency"]})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["nothing"]})
