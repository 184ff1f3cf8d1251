"""Cards are charged by the offline Stripe, whose customers and saved cards are made as a person would."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from tallystick.base.errors import InvalidInput
from tallystick.base.ids import new_id
from tallystick.payments.inbox.missed import fetch_missed
from tallystick.payments.orders.charge_top_up import top_up_due
from tallystick.payments.orders.checkout import start_checkout
from tallystick.payments.orders.grant import grant
from tallystick.payments.orders.order import orders_of
from tallystick.payments.orders.purchase_terms import Purchase, PurchaseTerms
from tallystick.payments.orders.top_up import (
    NoSavedCard,
    Wanted,
    charged_this_month,
    find_top_up,
    remove_top_up,
    set_top_up,
)

pytestmark = pytest.mark.usefixtures("books")
CREDIT = 10**9
TERMS = PurchaseTerms(public_url="https://pay.example.com")


@pytest.fixture
async def api(stripe_address):
    async with httpx.AsyncClient(base_url=stripe_address, auth=("sk_test_of_the_tests", "")) as client:

        async def ask(method, path, **data):
            how = {"params": data} if method == "GET" else {"data": data}
            answer = await client.request(method, f"/v1/{path}", **how)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield ask


@pytest.fixture
def save_card(shop, pool, api):
    """Give the shop's organization a customer at Stripe with a saved card."""

    async def save(card="pm_card_visa"):
        customer = (await api("POST", "customers"))["id"]
        await pool.execute(
            "update stripe_customer set id = $1 where organization = $2", customer, shop.buyer.organization
        )
        shop.customer = customer
        return (await api("POST", f"payment_methods/{card}/attach", customer=customer))["id"]

    return save


@pytest.fixture
def agree(shop, pool, stripe, save_card):
    async def make(card="pm_card_visa", **fields):
        await save_card(card)
        wanted = {"threshold": 5 * CREDIT, "amount": 25 * CREDIT, "monthly_max": 100 * CREDIT} | fields
        return await set_top_up(pool, stripe, TERMS, shop.buyer, Wanted(**wanted))

    return make


@pytest.fixture
def run(pool, stripe):
    async def once():
        return await top_up_due(pool, stripe, TERMS)

    return once


async def rested(pool):
    """The cool-down is over."""
    await pool.execute("update payment_order set created_at = created_at - interval '11 minutes'")


async def charges(shop, api):
    found = await api("GET", "charges", customer=shop.customer, limit=100)
    return [charge for charge in found["data"] if charge["paid"]]


async def states(shop, pool):
    return [(o.kind, o.state, o.reason) for o in await orders_of(pool, organization=shop.buyer.organization)]


async def test_a_card_is_charged_once_when_credits_run_low(shop, pool, agree, run, api, told):
    await agree()
    assert [await run() for _ in range(3)] == [1, 0, 0]
    assert (await shop.balance(), await states(shop, pool)) == (25 * CREDIT, [("top_up", "credited", None)])
    [charge] = await charges(shop, api)
    assert charge["amount"] == 2500
    assert [type_ for type_, _ in await told()] == ["order.created", "order.credited", "credits.purchased"]


async def test_the_webhook_that_comes_afterwards_finds_it_done(shop, pool, stripe, agree, run):
    await agree()
    before = await pool.fetchval("select clock_timestamp() - interval '5 seconds'")
    await run()
    await fetch_missed(shop.inbox, stripe, before)
    assert await shop.balance() == 25 * CREDIT
    # Others pay at the same Stripe.
    states_ = await pool.fetch(
        "select state from stripe_event where type = 'payment_intent.succeeded' and position($1::bytea in body) > 0",
        shop.buyer.organization.encode(),
    )
    assert [row["state"] for row in states_] == ["processed"]


async def test_hosts_that_do_it_at_once_charge_once(shop, agree, run, api):
    await agree()
    await asyncio.gather(*(run() for _ in range(6)))
    assert (await shop.balance(), len(await charges(shop, api))) == (25 * CREDIT, 1)


async def test_what_is_held_cannot_be_spent_and_counts_as_gone(shop, pool, agree, run):
    await agree()
    await grant(pool, shop.buyer.account, 20 * CREDIT, operation=new_id(), source="test")
    assert await run() == 0
    account = shop.buyer.account
    await pool.execute("update ledger_account set held = $1 where id = $2", 16 * CREDIT, account)
    assert await run() == 1
    await pool.execute("update ledger_account set held = 0 where id = $1", account)


async def test_not_again_before_it_has_cooled_down(shop, pool, agree, run):
    await agree(threshold=60 * CREDIT)
    assert [await run() for _ in range(2)] == [1, 0]
    await rested(pool)
    assert [await run() for _ in range(2)] == [1, 0]
    assert await shop.balance() == 50 * CREDIT


async def test_a_month_has_a_ceiling_even_at_once(shop, pool, agree, run, stripe):
    await agree(threshold=1_000 * CREDIT, monthly_max=60 * CREDIT)
    for _ in range(5):
        await asyncio.gather(run(), run(), run())
        await pool.execute("update top_up set cool_down = '0'")
    assert await shop.balance() == 50 * CREDIT, "a third would be more than was agreed"
    assert await charged_this_month(pool, shop.buyer.organization) == 5000
    await pool.execute("update payment_order set created_at = created_at - interval '32 days'")
    assert await run() == 1, "another month"


async def test_a_decline_ends_the_order_and_stops_it_until_it_is_set_again(shop, pool, agree, run, told):
    await agree("pm_card_chargeCustomerFail")
    assert await run() == 1
    assert (await shop.balance(), await states(shop, pool)) == (0, [("top_up", "failed", "card_declined")])
    await rested(pool)
    assert await run() == 0
    assert (await find_top_up(pool, shop.buyer.organization)).stopped == "card_declined"
    assert ("order.failed", "card_declined") in [(type_, data["reason"]) for type_, data in await told()]
    [mail] = await pool.fetch("select subject, body from mail")
    assert "declined" in mail["subject"]
    assert "25.00 USD" in mail["body"]
    await agree()
    assert await run() == 1
    assert await shop.balance() == 25 * CREDIT


async def test_the_webhook_of_a_decline_alone_ends_nothing(shop, pool, stripe, agree, run, control):
    """Whoever charged it died before it could write down the answer; the same key then tells it once more."""
    await agree("pm_card_chargeCustomerFail")
    before = await pool.fetchval("select clock_timestamp() - interval '5 seconds'")
    await control("faults", kind="reset_after", path="/v1/payment_intents", times=2)
    await run()
    await fetch_missed(shop.inbox, stripe, before)
    assert await states(shop, pool) == [("top_up", "created", None)]
    await run()
    assert await states(shop, pool) == [("top_up", "failed", "card_declined")]
    assert (await find_top_up(pool, shop.buyer.organization)).stopped == "card_declined"


async def test_a_bank_that_asks_for_the_owner_gets_a_page_they_can_pay_on(
    shop, pool, agree, run, control, stripe, told
):
    await agree("pm_card_authenticationRequired")
    before = await pool.fetchval("select clock_timestamp() - interval '5 seconds'")
    await run()
    found = await orders_of(pool, organization=shop.buyer.organization)
    assert [(o.kind, o.state) for o in found] == [("checkout", "awaiting_payment"), ("top_up", "failed")]
    [mail] = await pool.fetch("select subject, body from mail")
    assert found[0].checkout_url in mail["body"]
    assert found[0].checkout_url in [data["checkout_url"] for _, data in await told() if "checkout_url" in data]
    assert (await find_top_up(pool, shop.buyer.organization)).stopped == "authentication_required"
    await control(f"checkout/{found[0].stripe_session}/pay")
    await fetch_missed(shop.inbox, stripe, before)
    assert await shop.balance() == 25 * CREDIT


async def test_a_page_that_can_no_longer_be_paid_ends_the_top_up_without_one(shop, pool, agree, run, control):
    """As when everything went away after Stripe had refused the page, and before the top-up was ended."""
    await agree("pm_card_authenticationRequired")
    await control("faults", kind="reset_before", method="POST", path="/v1/checkout/sessions", times=4)
    await run()
    assert sorted(await states(shop, pool)) == [("checkout", "created", None), ("top_up", "created", None)]
    await pool.execute("update payment_order set state = 'failed' where kind = 'checkout'")
    await run()
    assert ("top_up", "failed", "authentication_required") in await states(shop, pool)
    assert await pool.fetchval("select subject from mail") == "Your automatic top-up was declined"


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "unavailable_503"])
async def test_an_unknown_outcome_waits_and_the_same_key_goes_on(shop, pool, agree, run, control, api, kind):
    await agree()
    await control("faults", kind=kind, path="/v1/payment_intents", times=2)
    await run()
    assert (await states(shop, pool), await shop.balance()) == ([("top_up", "created", None)], 0)
    await run()
    assert (await shop.balance(), len(await charges(shop, api))) == (25 * CREDIT, 1)


async def test_after_a_day_it_is_looked_for_and_found(shop, pool, agree, run, control, api):
    await agree()
    await control("faults", kind="reset_after", path="/v1/payment_intents", times=2)
    await run()
    assert len(await charges(shop, api)) == 1
    await pool.execute("update payment_order set created_at = created_at - interval '24 hours'")
    await run()
    assert (await shop.balance(), len(await charges(shop, api))) == (25 * CREDIT, 1)


async def test_after_a_day_what_is_not_there_has_failed_and_the_next_one_is_tried(shop, pool, agree, run, control, api):
    await agree()
    await control("faults", kind="reset_before", path="/v1/payment_intents", times=2)
    await run()
    await pool.execute("update payment_order set created_at = created_at - interval '24 hours'")
    await run()
    assert [state for _kind, state, _reason in await states(shop, pool)] == ["failed"]
    await run()
    assert (await shop.balance(), len(await charges(shop, api))) == (25 * CREDIT, 1)


async def test_another_card_meanwhile_is_not_the_one_that_was_asked_for(shop, pool, agree, run, control, api, stripe):
    """The same key with other content would be refused, and the first charge may have been made."""
    await agree()
    await control("faults", kind="reset_after", path="/v1/payment_intents", times=2)
    await run()
    other = await api("POST", "payment_methods/pm_card_mastercard/attach", customer=shop.customer)
    wanted = Wanted(threshold=5 * CREDIT, amount=50 * CREDIT, monthly_max=100 * CREDIT, payment_method=other["id"])
    assert (await set_top_up(pool, stripe, TERMS, shop.buyer, wanted)).card == "mastercard 4444"
    await run()
    assert (await shop.balance(), len(await charges(shop, api))) == (25 * CREDIT, 1)


async def test_a_purchase_saves_the_card_where_it_is_asked_to(shop, pool, stripe, save_card, control, api):
    await save_card()
    await api("POST", f"payment_methods/{(await cards(shop, api))[0]}/detach")
    moment = await pool.fetchval("select clock_timestamp()")
    for save in (False, True):
        bought = Purchase(amount_minor=2500, currency="usd", credits=25 * CREDIT, save_card=save)
        started = await start_checkout(pool, stripe, TERMS, shop.buyer, bought, request_id=None, now=moment)
        await control(f"checkout/{started.session_id}/pay")
        assert len(await cards(shop, api)) == save


async def cards(shop, api):
    return [method["id"] for method in (await api("GET", f"customers/{shop.customer}/payment_methods"))["data"]]


async def test_without_a_saved_card_there_is_nothing_to_agree_to(shop, pool, stripe, save_card, api):
    await save_card()
    await api("POST", f"payment_methods/{(await cards(shop, api))[0]}/detach")
    wanted = Wanted(threshold=CREDIT, amount=25 * CREDIT, monthly_max=25 * CREDIT)
    with pytest.raises(NoSavedCard):
        await set_top_up(pool, stripe, TERMS, shop.buyer, wanted)


@pytest.mark.parametrize(
    "fields",
    [
        {"monthly_max": 24 * CREDIT},
        {"amount": 10**15},
        {"amount": 10**7},
        {"amount": 25 * CREDIT + 1},
        {"threshold": 10**18},
        {"cool_down": timedelta(seconds=1)},
        {"cool_down": timedelta(days=32)},
    ],
)
async def test_what_cannot_be_agreed_to(agree, fields):
    with pytest.raises(InvalidInput):
        await agree(**fields)


async def test_who_ends_it_or_turns_it_off_is_not_charged(shop, pool, agree, run):
    await agree(enabled=False)
    assert await run() == 0
    await agree()
    await pool.execute("update organization set state = 'suspended'")
    assert await run() == 0
    await pool.execute("update organization set state = 'active'")
    assert await remove_top_up(pool, shop.buyer.organization, by=shop.buyer.user_id)
    assert not await remove_top_up(pool, shop.buyer.organization, by=shop.buyer.user_id)
    assert await run() == 0
