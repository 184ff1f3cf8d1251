import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import stripe as sdk

from tallystick.base.errors import Conflict, Misconfigured
from tallystick.payments.errors import PaymentPending, PaymentRefused
from tallystick.payments.inbox.missed import fetch_missed, take_fetched
from tallystick.payments.orders.checkout import RETRY_FOR, start_checkout
from tallystick.payments.orders.purchase_terms import Purchase, PurchaseTerms
from tallystick.payments.stripe.client import API_VERSION, StripeClient

TERMS = PurchaseTerms(public_url="https://pay.example.com")
TWENTY_FIVE = Purchase(amount_minor=2500, currency="usd", credits=25 * 10**9)
TEN = Purchase(amount_minor=1000, currency="usd", credits=10 * 10**9)

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture
async def start(new_shop, pool, stripe):
    """Start a checkout for somebody who has no customer at Stripe yet."""
    shop = await new_shop()
    await pool.execute("delete from stripe_customer")

    async def ask(purchase=TWENTY_FIVE, request_id="click-1", client=stripe, now=None):
        now = now or datetime.now(UTC)
        return await start_checkout(pool, client, TERMS, shop.buyer, purchase, request_id=request_id, now=now)

    ask.shop = shop
    return ask


async def listed(stripe_address, what, **params):
    async with httpx.AsyncClient(base_url=stripe_address, auth=("sk_test_of_the_tests", "")) as client:
        return (await client.get(f"/v1/{what}", params=params)).json()["data"]


async def test_the_session_carries_the_order_and_so_does_its_payment(start, control, stripe_address, pool):
    started = await start()
    await control(f"checkout/{started.session_id}/pay")
    [session] = [s for s in await listed(stripe_address, "checkout/sessions") if s["id"] == started.session_id]
    [intent] = [i for i in await listed(stripe_address, "payment_intents") if i["id"] == session["payment_intent"]]
    buyer = start.shop.buyer
    named = {"order_id": started.order_id, "organization": buyer.organization, "user_id": buyer.user_id}
    assert (session["metadata"], intent["metadata"]) == (named, named)
    assert session["client_reference_id"] == started.order_id
    customer = await pool.fetchval("select id from stripe_customer where organization = $1", buyer.organization)
    assert (session["customer"], intent["customer"]) == (customer, customer)
    assert (session["amount_total"], session["currency"]) == (2500, "usd")


async def test_the_same_request_is_the_same_session_even_at_once(start, pool):
    started = await asyncio.gather(*(start() for _ in range(5)))
    assert len({(one.order_id, one.session_id) for one in started}) == 1
    assert await start() == started[0]
    assert await pool.fetchval("select count(*) from payment_order") == 1
    assert await pool.fetchval("select count(*) from stripe_customer") == 1


async def test_another_purchase_under_the_same_key_is_a_conflict(start):
    await start()
    with pytest.raises(Conflict):
        await start(TEN)


async def test_without_a_key_each_is_a_purchase_of_its_own(start):
    assert (await start(request_id=None)).session_id != (await start(request_id=None)).session_id


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "unavailable_503", "rate_limited_429"])
async def test_stripe_failing_once_is_not_noticed(start, control, stripe_address, kind):
    await control("faults", kind=kind, path="/v1/checkout/sessions")
    started = await start()
    sessions = await listed(stripe_address, "checkout/sessions", limit=100)
    assert len([s for s in sessions if s["client_reference_id"] == started.order_id]) == 1


@pytest.mark.parametrize("kind", ["reset_after", "unavailable_503"])
async def test_an_unknown_outcome_is_pending_and_the_same_request_goes_on(start, control, pool, stripe_address, kind):
    await control("faults", kind=kind, path="/v1/checkout/sessions", times=2)
    with pytest.raises(PaymentPending) as pending:
        await start()
    assert pending.value.details["idempotency_key"] == "click-1"
    assert await pool.fetchval("select state from payment_order") == "created"
    started = await start()
    sessions = await listed(stripe_address, "checkout/sessions", limit=100)
    assert len([s for s in sessions if s["client_reference_id"] == started.order_id]) == 1, "one order, one session"
    assert await pool.fetchval("select state from payment_order") == "awaiting_payment"


async def test_a_buyer_without_a_key_is_told_one_to_go_on_with(start, control, pool):
    await control("faults", kind="reset_before", path="/v1/checkout/sessions", times=2)
    with pytest.raises(PaymentPending) as pending:
        await start(request_id=None)
    order = await pool.fetchval("select id from payment_order")
    assert (await start(request_id=pending.value.details["idempotency_key"])).order_id == order


async def test_a_lost_answer_about_the_customer_makes_no_second_one_for_the_order(start, control, pool):
    await control("faults", kind="reset_after", path="/v1/customers", times=2)
    with pytest.raises(PaymentPending):
        await start()
    await start()
    assert await pool.fetchval("select count(*) from stripe_customer") == 1


async def test_silence_is_pending_too(start, control, stripe_address, pool):
    impatient = StripeClient("sk_test_of_the_tests", api_base=stripe_address, timeout_s=0.3, retries=0)
    await start(TEN, "customer first")
    await control("faults", kind="timeout", path="/v1/checkout/sessions", seconds=1)
    with pytest.raises(PaymentPending):
        await start(client=impatient)
    await impatient.close()
    assert (await start()).session_id


async def test_what_stripe_refuses_is_over(start, pool):
    with pytest.raises(PaymentRefused):
        await start(Purchase(amount_minor=10, currency="usd", credits=10**8))
    assert await pool.fetchval("select state from payment_order") == "failed"
    with pytest.raises(Conflict):
        await start(Purchase(amount_minor=10, currency="usd", credits=10**8))


async def test_a_key_that_stripe_does_not_know_is_the_operators_to_mend(start, stripe_address, pool):
    stranger = StripeClient("pk_wrong", api_base=stripe_address, retries=0)
    with pytest.raises(Misconfigured):
        await start(client=stranger)
    await stranger.close()
    assert (await start()).session_id, "and when it is mended the same order goes on"
    assert await pool.fetchval("select count(*) from payment_order") == 1


async def test_an_order_too_old_for_stripe_to_remember_its_key_is_not_asked_for_again(start, control):
    await control("faults", kind="reset_before", path="/v1/checkout/sessions", times=2)
    with pytest.raises(PaymentPending):
        await start()
    with pytest.raises(Conflict):
        await start(now=datetime.now(UTC) + RETRY_FOR + timedelta(minutes=1))


async def test_a_test_order_is_not_paid_with_a_live_key(start, stripe_address):
    await start()
    live = StripeClient("sk_live_pretended", api_base=stripe_address)
    with pytest.raises(Conflict):
        await start(client=live)
    await live.close()


async def test_lost_webhooks_are_fetched_and_credit_once(start, control, stripe):
    before = datetime.now(UTC) - timedelta(seconds=5)
    started = await start()
    await control(f"checkout/{started.session_id}/pay")
    assert await fetch_missed(start.shop.inbox, stripe, before) >= 2
    assert await start.shop.balance() == 25 * 10**9
    assert await fetch_missed(start.shop.inbox, stripe, before) == 0
    assert await start.shop.balance() == 25 * 10**9


async def test_one_event_that_cannot_be_read_keeps_no_other_from_being_fetched(shop):
    order = await shop.order()
    fetched = [b'{"type": "payment_intent.succeeded"}', shop.event("payment_intent.succeeded", order)]
    assert await take_fetched(shop.inbox, fetched) == 1
    assert await shop.balance() == 25 * 10**9


def test_the_version_is_pinned_to_what_the_sdk_was_made_for():
    assert sdk.api_version == API_VERSION, "the SDK moved on: read its changes before following"
