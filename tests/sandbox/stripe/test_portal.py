"""The customer portal: its sessions, its page, and the controls that do the same without one."""

import re

import httpx
import pytest
import stripe
from playwright.async_api import async_playwright


@pytest.fixture
def subscriber(stand):
    """(customer, subscription, another plan)."""
    plan, other = stand.price(2000, name="Pro"), stand.price(5000, name="Max")
    customer = stand.payer()
    return customer, stand.subscribe(customer, plan), other


def portal(stand, customer, **more):
    return stand.v1.billing_portal.sessions.create(
        {"customer": customer.id, "return_url": "http://127.0.0.1:9/account", **more}
    )


def again(stand, made):
    return stand.v1.subscriptions.retrieve(made.id)


def do(session, act, **typed):
    return httpx.post(f"{session.url}/{act}", data=typed)


def test_a_link_for_one_customer_that_expires(stand, subscriber):
    customer, _, _ = subscriber
    session = portal(stand, customer)
    assert (session.customer, session.return_url) == (customer.id, "http://127.0.0.1:9/account")
    assert stand.v1.billing_portal.configurations.retrieve(session.configuration).is_default
    page = httpx.get(session.url)
    assert page.status_code == 200
    assert "<script" not in page.text
    for shown in ("Pro", "$20.00 / month", "Renews on", "Visa ending in 4242", "-0001", "http://127.0.0.1:9/account"):
        assert shown in page.text
    stand.pass_days(0.5 / 24)
    assert httpx.get(session.url).status_code == 200
    stand.pass_days(1.1 / 24)
    assert httpx.get(session.url).status_code == 410
    unused = portal(stand, customer)
    stand.pass_days(0.2 / 24)
    assert httpx.get(unused.url).status_code == 410
    assert httpx.get(f"{stand.address}/c/portal/bps_nobody").status_code == 410


def test_another_plan(stand, subscriber):
    customer, made, other = subscriber
    session = portal(stand, customer)
    changed = do(session, "change", subscription=made.id, price=other.id)
    assert changed.status_code == 303
    assert "Your plan has changed." in httpx.get(f"{stand.address}{changed.headers['location']}").text
    assert again(stand, made)["items"].data[0].price.id == other.id
    assert len(stand.v1.invoice_items.list({"pending": True}).data) == 2
    refused = do(session, "change", subscription=made.id, price="price_nobody")
    assert refused.status_code == 422
    assert again(stand, made)["items"].data[0].price.id == other.id


def test_an_end_is_a_moment_and_can_be_taken_back(stand, subscriber):
    customer, made, _ = subscriber
    session = portal(stand, customer)
    do(session, "cancel", subscription=made.id)
    ending = again(stand, made)
    # Not `cancel_at_period_end`: the portal of a subscription in flexible billing mode leaves that alone.
    assert (ending.cancel_at, ending.cancel_at_period_end) == (made["items"].data[0].current_period_end, False)
    assert ending.cancellation_details.reason == "cancellation_requested"
    assert "Ends on" in httpx.get(session.url).text
    do(session, "keep", subscription=made.id)
    assert (again(stand, made).cancel_at, again(stand, made).canceled_at) == (None, None)
    do(session, "cancel", subscription=made.id)
    stand.pass_period(made)
    assert again(stand, made).status == "canceled"
    assert "You have no subscription." in httpx.get(portal(stand, customer).url).text


def test_another_card_pays_from_then_on(stand, subscriber):
    customer, made, _ = subscriber
    session = portal(stand, customer)
    assert do(session, "card", number="4000000000000002").status_code == 422
    assert do(session, "card", number="1234").status_code == 422
    assert do(session, "card", number="5555555555554444").status_code == 303
    default = stand.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method
    assert stand.v1.payment_methods.retrieve(default).card.last4 == "4444"
    stand.pass_period(made)
    charge = stand.v1.charges.list({"customer": customer.id, "limit": 1}).data[0]
    assert (charge.paid, charge.payment_method) == (True, default)


def test_what_a_configuration_forbids_is_neither_shown_nor_done(stand, subscriber):
    customer, made, other = subscriber
    features = {
        "subscription_cancel": {"enabled": False},
        "payment_method_update": {"enabled": False},
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "products": [{"product": other.product, "prices": [other.id]}],
            "proration_behavior": "always_invoice",
        },
    }
    third = stand.price(9900, name="Giant")
    configured = stand.v1.billing_portal.configurations.create({"features": features})
    session = portal(stand, customer, configuration=configured.id)
    page = httpx.get(session.url).text
    assert "Max" in page
    assert not any(hidden in page for hidden in ("Giant", "Cancel", "Use another card", "Your invoices"))
    assert do(session, "cancel", subscription=made.id).status_code == 422
    assert do(session, "change", subscription=made.id, price=third.id).status_code == 422
    assert do(session, "change", subscription=made.id, price=other.id).status_code == 303
    bill = stand.v1.invoices.retrieve(again(stand, made).latest_invoice)
    assert (bill.billing_reason, bill.status) == ("subscription_update", "paid")
    assert {one.id for one in stand.v1.billing_portal.configurations.list().data} > {configured.id}


def test_a_flow_leads_back_when_it_is_done(stand, subscriber):
    customer, made, _ = subscriber
    flow = {
        "type": "subscription_cancel",
        "subscription_cancel": {"subscription": made.id},
        "after_completion": {"type": "redirect", "redirect": {"return_url": "http://127.0.0.1:9/done"}},
    }
    session = portal(stand, customer, flow_data=flow)
    assert session.flow.subscription_cancel.subscription == made.id
    assert do(session, "cancel", subscription=made.id).headers["location"] == "http://127.0.0.1:9/done"


def test_nobody_reaches_what_is_another_s(stand, subscriber):
    _, made, other = subscriber
    stranger = portal(stand, stand.payer())
    assert do(stranger, "cancel", subscription=made.id).status_code == 422
    assert do(stranger, "change", subscription=made.id, price=other.id).status_code == 422
    assert again(stand, made).cancel_at is None
    stand.v1.customers.delete(stranger.customer)
    assert httpx.get(stranger.url).status_code == 410
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        stand.v1.billing_portal.sessions.create({"customer": "cus_nobody"})


def test_the_controls_do_what_the_page_does(stand, subscriber):
    customer, made, other = subscriber
    stand.control(f"subscriptions/{made.id}/change_plan", price=other.id)
    stand.control(f"subscriptions/{made.id}/cancel")
    assert again(stand, made).cancel_at is not None
    stand.control(f"subscriptions/{made.id}/keep")
    assert (again(stand, made).cancel_at, again(stand, made)["items"].data[0].price.id) == (None, other.id)
    method = stand.control(f"customers/{customer.id}/card", number="4000000000000341")["payment_method"]["id"]
    stand.pass_period(made)
    assert again(stand, made).status == "past_due"
    bill = again(stand, made).latest_invoice
    declined = stand.control(f"invoices/{bill}/pay", number="4000000000000002")
    assert declined["payment_intent"]["last_payment_error"]["code"] == "card_declined"
    assert stand.control(f"invoices/{bill}/pay")["invoice"]["status"] == "paid"
    assert again(stand, made).status == "active"
    assert stand.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method == method


def test_everything_a_customer_wrote_is_escaped(stand):
    nasty = "\"><script>alert(1)</script>&'"
    customer = stand.payer()
    stand.v1.customers.update(customer.id, {"name": nasty})
    stand.subscribe(customer, stand.price(name=nasty))
    session = portal(stand, customer, return_url='http://127.0.0.1:9/"><script>')
    assert "<script" not in httpx.get(session.url).text
    assert "<script" not in do(session, "card", number=nasty).text


@pytest.mark.parametrize(("width", "height"), [(360, 800), (1280, 850)])
async def test_in_a_browser_without_scripts(stand, subscriber, chromium, width, height):
    customer, made, other = subscriber
    session = portal(stand, customer)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = await browser.new_context(viewport={"width": width, "height": height}, java_script_enabled=False)
        page = await context.new_page()
        await page.goto(session.url)
        assert await page.get_by_role("heading", name="Pro").is_visible()
        await page.get_by_text("Change the plan").click()
        await page.get_by_label("Max: $50.00 / month").check()
        await page.get_by_role("button", name="Change to this plan").click()
        assert await page.get_by_role("heading", name="Max").is_visible()
        await page.get_by_text("Cancel", exact=True).click()
        await page.get_by_role("button", name="Cancel the subscription").click()
        assert await page.get_by_text("Ends on").is_visible()
        await page.get_by_role("button", name="Keep the subscription").click()
        assert await page.get_by_text("Renews on").is_visible()
        await page.get_by_text("Use another card").click()
        await page.get_by_label("Card number").fill("5555 5555 5555 4444")
        # Nothing sticks out at the side, with everything unfolded.
        assert await page.locator("html").evaluate("page => page.scrollWidth") <= width
        await page.get_by_role("button", name="Save this card").click()
        assert await page.get_by_text("Mastercard ending in 4444").is_visible()
        await page.get_by_role("link", name=re.compile("-0001")).click()
        assert await page.get_by_text("It is paid. Thank you.").is_visible()
        await browser.close()
    assert again(stand, made)["items"].data[0].price.id == other.id
