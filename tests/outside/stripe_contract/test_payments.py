"""Our payments against Stripes that somebody else wrote, and against our own as the one that covers all of it.

| what our code does                  | sandbox | localstripe              | emulate                             |
|-------------------------------------|---------|--------------------------|-------------------------------------|
| makes a customer                    | yes     | yes                      | yes                                 |
| repeats a call under its key        | replays | makes another customer   | makes another customer              |
| opens a checkout session            | yes     | has no Checkout: 404     | wants stored prices: 400            |
| the same with a stored price        | yes     | has no Checkout          | yes, and it is paid on its page     |
| is told of a paid session           | credits | has no Checkout          | names no amount: set aside          |
| verifies a webhook's signature      | yes     | yes                      | yes                                 |
| reads a webhook's body              | yes     | yes                      | no id, no livemode: refused         |
| credits payment_intent.succeeded    | yes     | yes                      | in the envelope that Stripe has     |
| notes payment_intent.payment_failed | yes     | yes                      | every card succeeds                 |
| fetches missed events               | yes     | takes no `types`: 400;   | keeps none: 404                     |
|                                     |         | read without them        |                                     |

A test stands for each cell; what an outside one does not do is asserted, too, so that the day it does is noticed.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import stripe as sdk

from tallystick.base.ids import text_id
from tallystick.payments.errors import BadWebhook, PaymentRefused
from tallystick.payments.inbox.event import TYPES, read_header
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.inbox.missed import fetch_missed
from tallystick.payments.orders.checkout import start_checkout
from tallystick.payments.orders.purchase_terms import Purchase, PurchaseTerms
from tallystick.payments.stripe.checkout import CheckoutOrder, session_parameters
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.customer import create_customer
from tallystick.payments.stripe.events import events_since
from tallystick.payments.stripe.signature import sign, verify_signature
from tests.payments.shop import Shop, open_shop

SECRET = "whsec_contract"
CREDITED = 25 * 10**9
TWENTY_FIVE = Purchase(amount_minor=2500, currency="usd", credits=CREDITED)
TERMS = PurchaseTerms(public_url="http://127.0.0.1:9")

# Where the form of the hosted page leads, which is each one's own business.
PAY: dict[str, tuple[str, dict[str, str]]] = {
    "sandbox": ("/c/pay/{id}", {"method": "card", "number": "4242424242424242", "email": "buyer@example.com"}),
    "emulate": ("/checkout/{id}/complete", {}),
}


def against(*names: str) -> pytest.MarkDecorator:
    marked = [pytest.param(name, marks=pytest.mark.npm if name == "emulate" else ()) for name in names]
    return pytest.mark.parametrize("witness", marked, indirect=True)


@pytest.fixture
async def ours(witness):
    """Our client on the Stripe that the test is parametrized with."""
    client = StripeClient("sk_test_ours", api_base=witness.address, timeout_s=5.0, retries=1)
    yield client
    await client.close()


@pytest.fixture
async def shop(pool, ours):
    """A shop whose buyer is a customer there. After every test the books must balance."""
    made = await open_shop(pool, secrets=("whsec_the_next_one", SECRET))
    made.customer = await create_customer(ours, made.buyer.organization, idempotency_key=text_id("ord"))
    await pool.execute("update stripe_customer set id = $1", made.customer)
    yield made
    assert await made.broken_laws() == []


def described(shop: Shop, order: Any) -> Any:
    """What our code sends to Stripe about an order."""
    return session_parameters(
        CheckoutOrder(
            id=order.id,
            organization=order.organization,
            user_id=order.created_by,
            customer=shop.customer,
            title="25 credits",
            amount_minor=order.amount_minor,
            currency=order.currency,
            success_url="http://127.0.0.1:9/paid",
            cancel_url="http://127.0.0.1:9/cancelled",
        )
    )


async def pay(witness: Any, shop: Shop, order: Any, card: str = "pm_card_visa") -> str:
    """Pay as Checkout would: an intent with what our session asks for its payment. The intent's id."""
    intents = witness.client.v1.payment_intents
    asked = {"amount": order.amount_minor, "currency": order.currency, "customer": shop.customer}
    made = await intents.create_async(asked | {"payment_method": card} | described(shop, order)["payment_intent_data"])
    try:
        await intents.confirm_async(made.id)
    except sdk.CardError:
        assert card != "pm_card_visa"
    return str(made.id)


async def told(receiver: Any, kind: str, about: str) -> tuple[bytes, str]:
    """The webhook of a type about an object, as it came in: localstripe sends it a second later."""
    for _ in range(200):
        for body, signature in receiver.received:
            event = json.loads(body)
            if (event["type"], event["data"]["object"]["id"]) == (kind, about):
                return body, signature
        await asyncio.sleep(0.05)
    raise AssertionError(f"no {kind} about {about} came")


def enveloped(body: bytes) -> bytes:
    """An event as Stripe documents it, around what a webhook tells: with an id and a mode."""
    event = json.loads(body)
    return json.dumps({"id": f"evt_{event['data']['object']['id']}", "livemode": False} | event).encode()


@against("sandbox", "localstripe", "emulate")
async def test_an_organization_becomes_a_customer(witness, ours):
    customer = await create_customer(ours, "org_somebody", idempotency_key="ord_1")
    found = await witness.client.v1.customers.retrieve_async(customer)
    assert found.metadata.to_dict() == {"organization": "org_somebody"}


@against("sandbox")
async def test_a_repeated_call_is_replayed(ours):
    order = text_id("ord")
    assert len({await create_customer(ours, "org_twice", idempotency_key=order) for _ in range(2)}) == 1


@against("localstripe", "emulate")
async def test_they_replay_nothing_and_still_an_organization_keeps_its_first_customer(witness, ours, pool):
    assert len({await create_customer(ours, "org_twice", idempotency_key="ord_twice") for _ in range(2)}) == 2
    made = await open_shop(pool)
    await pool.execute("delete from stripe_customer")
    kept = set()
    for _ in range(2):
        with pytest.raises(PaymentRefused):
            await start_checkout(pool, ours, TERMS, made.buyer, TWENTY_FIVE, request_id=None, now=datetime.now(UTC))
        kept.add(await pool.fetchval("select id from stripe_customer"))
    assert len(kept) == 1


@against("sandbox")
async def test_a_checkout_session_is_opened_for_the_order(witness, ours, shop, pool):
    started = await start_checkout(
        pool, ours, TERMS, shop.buyer, TWENTY_FIVE, request_id="click", now=datetime.now(UTC)
    )
    session = await witness.client.v1.checkout.sessions.retrieve_async(started.session_id)
    assert (session.client_reference_id, session.amount_total, session.customer) == (
        started.order_id,
        2500,
        shop.customer,
    )
    assert session.metadata.to_dict()["order_id"] == started.order_id


@against("localstripe", "emulate")
async def test_they_open_no_session_with_a_price_of_the_moment_and_the_order_says_so(ours, shop, pool):
    with pytest.raises(PaymentRefused):
        await start_checkout(pool, ours, TERMS, shop.buyer, TWENTY_FIVE, request_id="click", now=datetime.now(UTC))
    assert await pool.fetchval("select state from payment_order") == "failed"


@against("localstripe")
async def test_it_has_no_checkout_at_all(witness):
    with pytest.raises(sdk.APIError) as missing:
        await witness.client.v1.checkout.sessions.list_async()
    assert missing.value.http_status == 404


@against("sandbox", "emulate")
async def test_with_a_stored_price_all_else_that_we_send_is_accepted_and_paid(witness, shop, receiver):
    order = await shop.order()
    product = await witness.client.v1.products.create_async({"name": "25 credits"})
    asked = {"product": product.id, "currency": "usd", "unit_amount": 2500}
    price = await witness.client.v1.prices.create_async(asked)
    with_price = described(shop, order) | {"line_items": [{"price": price.id, "quantity": 1}]}
    session = await witness.client.v1.checkout.sessions.create_async(with_price, {"idempotency_key": order.id})
    assert session.metadata.to_dict()["order_id"] == order.id
    await shop.pool.execute("update payment_order set stripe_session = $1 where id = $2", session.id, order.id)
    path, form = PAY[witness.name]
    async with httpx.AsyncClient(base_url=witness.address) as browser:
        await browser.post(path.format(id=session.id), data=form)
    found = await witness.client.v1.checkout.sessions.retrieve_async(session.id)
    assert (found.status, found.payment_status) == ("complete", "paid")

    body, signature = await told(receiver, "checkout.session.completed", session.id)
    verify_signature(body, signature, [SECRET])
    await shop.inbox.receive(enveloped(body), sign(enveloped(body), SECRET))
    [(state, reason)] = await shop.events()
    if witness.name == "emulate":
        assert "amount_total" not in json.loads(body)["data"]["object"]
        assert (state, await shop.balance()) == ("quarantined", 0)
        assert "amount asked None" in reason
    else:
        assert (state, await shop.balance()) == ("processed", CREDITED)


@against("sandbox", "localstripe")
async def test_the_webhook_of_a_payment_credits_its_order_once(witness, shop, receiver):
    order = await shop.order()
    intent = await pay(witness, shop, order)
    body, signature = await told(receiver, "payment_intent.succeeded", intent)
    with pytest.raises(BadWebhook):
        await shop.inbox.receive(body.replace(b"2500", b"9900"), signature)
    with pytest.raises(BadWebhook):
        await Inbox(shop.pool, secrets=("whsec_other",), livemode=False).receive(body, signature)
    assert await shop.balance() == 0
    for _ in range(3):
        await shop.inbox.receive(body, signature)
    credited = await shop.reread(order)
    assert (credited.state, credited.stripe_payment_intent, await shop.balance()) == ("credited", intent, CREDITED)


@against("emulate")
async def test_its_signature_is_stripes_and_its_body_is_no_event_until_it_has_an_envelope(witness, shop, receiver):
    order = await shop.order()
    intent = await pay(witness, shop, order)
    body, signature = await told(receiver, "payment_intent.succeeded", intent)
    verify_signature(body, signature, [SECRET])
    with pytest.raises(BadWebhook):
        verify_signature(body, signature, ["whsec_other"])
    assert set(json.loads(body)) == {"type", "data"}
    with pytest.raises(BadWebhook, match="not a Stripe event"):
        await shop.inbox.receive(body, signature)
    assert (await shop.events(), await shop.balance()) == ([], 0)
    whole = enveloped(body)
    for _ in range(3):
        await shop.inbox.receive(whole, sign(whole, SECRET))
    credited = await shop.reread(order)
    assert (credited.state, credited.stripe_payment_intent, await shop.balance()) == ("credited", intent, CREDITED)


@against("sandbox", "localstripe", "emulate")
async def test_a_payment_of_another_amount_than_ordered_is_set_aside(witness, shop, receiver):
    order = await shop.order()
    dearer = await shop.order(9900)
    as_if = {"metadata": described(shop, dearer)["payment_intent_data"]["metadata"]}
    asked = {
        "amount": order.amount_minor,
        "currency": "usd",
        "customer": shop.customer,
        "payment_method": "pm_card_visa",
    }
    made = await witness.client.v1.payment_intents.create_async(asked | as_if)
    await witness.client.v1.payment_intents.confirm_async(made.id)
    body, _ = await told(receiver, "payment_intent.succeeded", made.id)
    whole = enveloped(body)
    await shop.inbox.receive(whole, sign(whole, SECRET))
    [(state, reason)] = await shop.events()
    assert (state, await shop.balance()) == ("quarantined", 0)
    assert reason == "amount asked 2500 where the order has 9900"


@against("sandbox", "localstripe")
async def test_a_declined_card_leaves_the_order_unpaid_until_another_pays_it(witness, shop, receiver):
    order = await shop.order()
    declined = await pay(witness, shop, order, "pm_card_chargeCustomerFail")
    await shop.inbox.receive(*await told(receiver, "payment_intent.payment_failed", declined))
    assert ((await shop.reread(order)).state, await shop.balance()) == ("failed", 0)
    paid = await pay(witness, shop, order)
    await shop.inbox.receive(*await told(receiver, "payment_intent.succeeded", paid))
    assert ((await shop.reread(order)).state, await shop.balance()) == ("credited", CREDITED)


@against("emulate")
async def test_every_card_succeeds_there(witness, shop):
    intent = await pay(witness, shop, await shop.order(), "pm_card_chargeCustomerFail")
    assert (await witness.client.v1.payment_intents.retrieve_async(intent)).status == "succeeded"


@against("sandbox")
async def test_events_that_never_came_are_fetched(witness, ours, shop):
    await pay(witness, shop, await shop.order())
    assert await fetch_missed(shop.inbox, ours, datetime.now(UTC) - timedelta(seconds=60)) >= 1
    assert await shop.balance() == CREDITED


@against("localstripe")
async def test_its_list_takes_no_types_and_what_it_lists_without_them_credits_once(witness, ours, shop, receiver):
    order = await shop.order()
    intent = await pay(witness, shop, order)
    with pytest.raises(PaymentRefused) as refused:
        await events_since(ours, datetime.now(UTC) - timedelta(seconds=60), TYPES)
    assert "Unexpected types" in str(refused.value.__cause__)
    since = int((datetime.now(UTC) - timedelta(seconds=60)).timestamp())
    page = await witness.client.v1.events.list_async({"created": {"gte": since}, "limit": 100})
    events = [json.dumps(event.to_dict()).encode() async for event in page.auto_paging_iter()]
    about = [body for body in events if order.id.encode() in body]
    for body in about * 2:
        await shop.inbox.store(read_header(body), body)
    assert await shop.inbox.process_open() == 1
    await shop.inbox.receive(*await told(receiver, "payment_intent.succeeded", intent))
    assert (await shop.balance(), len(await shop.events())) == (CREDITED, 1)


@against("emulate")
async def test_it_keeps_no_events_to_fetch(ours):
    with pytest.raises(PaymentRefused) as refused:
        await events_since(ours, datetime.now(UTC) - timedelta(seconds=60), TYPES)
    assert refused.value.__cause__.http_status == 404
