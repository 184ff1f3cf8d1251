"""Somebody buys $25 over HTTP, pays at Stripe, and the signed webhook brings the credits: once, and only that one."""

import asyncio
import json

import httpx
import pytest

from tallystick import AsyncCreditClient, CreditClient
from tallystick.base.errors import Conflict, NotFound
from tallystick.payments.stripe.signature import sign

SECRET = "whsec_of_the_tests"


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(
        base_url=server.url, headers={"authorization": f"Bearer {server.session}"}, timeout=30
    ) as client:
        yield client


@pytest.fixture
async def stripe_http(stripe_address):
    async with httpx.AsyncClient(base_url=stripe_address, auth=("sk_test_of_the_tests", ""), timeout=30) as client:
        yield client


async def events_about(stripe_http, order_id):
    """The events of this order, as Stripe's webhooks carry them."""
    listed = (await stripe_http.get("/v1/events", params={"limit": 100})).json()["data"]
    return [event for event in listed if event["data"]["object"].get("metadata", {}).get("order_id") == order_id]


async def test_bought_paid_credited(http, stripe_http):
    answer = await http.post("/api/credits/purchase", json={"amount": 25})
    assert set(answer.json()) == {"checkout_url", "session_id", "order_id"}
    bought = answer.json()
    assert (await stripe_http.post(f"/_sandbox/checkout/{bought['session_id']}/pay", json={})).status_code == 200
    assert (await http.get("/api/credits/balance")).json()["balance"] == 0, "nothing before the webhook"

    events = await events_about(stripe_http, bought["order_id"])
    assert {"payment_intent.succeeded", "checkout.session.completed"} <= {event["type"] for event in events}
    for event in events * 2:
        body = json.dumps(event).encode()
        forged = await http.post("/api/credits/webhook", content=body, headers={"stripe-signature": "t=1,v1=00"})
        assert (forged.status_code, forged.json()["error"]["code"]) == (400, "invalid_webhook")
        taken = await http.post("/api/credits/webhook", content=body, headers={"stripe-signature": sign(body, SECRET)})
        assert (taken.status_code, taken.json()) == (200, {"received": True})

    found = (await http.get("/api/credits/balance")).json()
    assert (found["balance"], found["last_purchase_at"] is None) == (25, False)
    [line] = (await http.get("/api/credits/history")).json()["transactions"]
    assert (line["type"], line["amount"]) == ("purchase", 25)


async def test_a_pack_costs_what_the_catalog_says(http, stripe_http):
    bought = (await http.post("/api/credits/purchase", json={"pack": "standard"})).json()
    session = (await stripe_http.get(f"/v1/checkout/sessions/{bought['session_id']}")).json()
    assert (session["amount_total"], session["currency"]) == (2500, "usd")


async def test_one_click_is_one_session(http):
    key = {"idempotency-key": "click-1"}
    answers = [await http.post("/api/credits/purchase", json={"amount": 25}, headers=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    other = await http.post("/api/credits/purchase", json={"amount": 26}, headers=key)
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"amount": 0.99}', "amount"),
        ('{"amount": 10000.01}', "amount"),
        ('{"amount": 25.001}', "amount"),
        ('{"amount": "25"}', "amount"),
        ('{"amount": NaN}', "amount"),
        ('{"amount": true}', "amount"),
        ('{"amount": 25, "amount": 1}', "amount"),
        ('{"amount": 25, "pack": "standard"}', "amount"),
        ("{}", "amount"),
        ('{"pack": 5}', "pack"),
        ('{"amount": 25, "organization": "org_other"}', "organization"),
    ],
)
async def test_what_cannot_be_bought_is_422_and_no_order(http, pool, body, field):
    answer = await http.post("/api/credits/purchase", content=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert await pool.fetchval("select count(*) from payment_order") == 0


async def test_an_unknown_pack_is_404(http):
    assert (await http.post("/api/credits/purchase", json={"pack": "gold"})).status_code == 404


async def test_the_pages_after_paying_promise_nothing(http):
    paid = await http.get("/api/credits/purchase/paid")
    assert (paid.status_code, "as soon as the payment is confirmed" in paid.text) == (200, True)
    assert (await http.get("/api/credits/purchase/anything")).status_code == 404


async def test_coupons_through_the_clients(server, http):
    async with AsyncCreditClient(server.url, session_token=server.session) as client:
        bought = await client.purchase(pack="standard", coupon="half", save_card=True)
        order = (await http.get(f"/api/orders/{bought.order_id}")).json()
        assert (order["amount"], order["credits"], order["coupon"]) == (12.5, 25, "HALF")
        for _ in range(2):
            given = await client.redeem(code="free", idempotency_key="click-1")
            assert (given.credits, given.balance, given.expires_at) == (5, 5, None)
        with pytest.raises(Conflict):
            await client.redeem(code="free")
    with CreditClient(server.url, session_token=server.session) as client:
        with pytest.raises(NotFound):
            await asyncio.to_thread(client.redeem, code="none")
        with pytest.raises(Conflict):
            await asyncio.to_thread(client.purchase, pack="standard", coupon="half")
