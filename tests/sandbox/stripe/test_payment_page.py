"""The hosted page: with forms alone, then in a real browser with scripts switched off."""

import asyncio

import httpx
import pytest
from playwright.async_api import async_playwright

CARD = {"email": "page@example.com", "method": "card", "number": "4242 4242 4242 4242", "expires": "12/34", "cvc": "1"}


@pytest.fixture
async def browser(sandbox):
    async with httpx.AsyncClient(verify=False, base_url=sandbox.address) as client:
        yield client


def path(session) -> str:
    return f"/c/pay/{session.id}"


async def test_shows_what_is_paid_for_and_leads_back_with_the_session_s_id(shop, checkout, browser):
    session = shop.v1.checkout.sessions.create(checkout)
    page = await browser.get(path(session))
    assert page.status_code == 200
    assert "$25.00" in page.text
    assert "Standard: 25 credits" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    paid = await browser.post(path(session), data=CARD)
    assert paid.status_code == 303
    assert paid.headers["location"] == f"http://127.0.0.1:9/thanks?session={session.id}"
    assert shop.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    again = await browser.get(path(session))
    assert "already paid" in again.text


async def test_submitted_ten_times_at_once_it_pays_once(shop, checkout, browser):
    session = shop.v1.checkout.sessions.create(checkout)
    answers = await asyncio.gather(*(browser.post(path(session), data=CARD) for _ in range(10)))
    assert {answer.headers["location"] for answer in answers} == {f"http://127.0.0.1:9/thanks?session={session.id}"}
    intent = shop.v1.checkout.sessions.retrieve(session.id).payment_intent
    assert len(shop.v1.charges.list({"payment_intent": intent}).data) == 1


async def test_a_declined_card_can_be_followed_by_another(shop, checkout, browser):
    session = shop.v1.checkout.sessions.create(checkout)
    declined = await browser.post(path(session), data={**CARD, "number": "4000000000009995"}, follow_redirects=True)
    assert "Your card has insufficient funds." in declined.text
    assert 'value="page@example.com"' in declined.text
    paid = await browser.post(path(session), data=CARD)
    assert paid.headers["location"].startswith("http://127.0.0.1:9/thanks")


@pytest.mark.parametrize("number", ["", "4111", "5105105105105100", "000123456789", "<script>"])
async def test_a_number_that_is_no_test_card_is_refused_without_an_attempt(shop, checkout, browser, number):
    session = shop.v1.checkout.sessions.create(checkout)
    refused = await browser.post(path(session), data={**CARD, "number": number})
    assert refused.status_code == 422
    assert "not a test card" in refused.text
    assert "<script" not in refused.text
    assert shop.v1.checkout.sessions.retrieve(session.id).payment_intent is None


async def test_everything_a_shop_or_a_customer_wrote_is_escaped(shop, checkout, browser):
    nasty = "\"><script>alert(1)</script>&'"
    checkout["line_items"][0]["price_data"]["product_data"]["name"] = nasty
    checkout["cancel_url"] = 'http://127.0.0.1:9/"><script>'
    session = shop.v1.checkout.sessions.create({**checkout, "customer_email": nasty})
    for page in (
        await browser.get(path(session)),
        await browser.post(path(session), data={**CARD, "number": nasty, "name": nasty, "email": nasty}),
    ):
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text


async def test_a_bank_asks_and_is_answered(shop, checkout, browser):
    session = shop.v1.checkout.sessions.create(checkout)
    asked = await browser.post(path(session), data={**CARD, "number": "4000002500003155"})
    question = asked.headers["location"]
    assert "Your bank asks" in (await browser.get(question)).text
    refused = await browser.post(question, data={"result": "failed"}, follow_redirects=True)
    assert "unable to authenticate" in refused.text
    await browser.post(path(session), data={**CARD, "number": "4000002500003155"})
    passed = await browser.post(question, data={"result": "passed"})
    assert passed.headers["location"].startswith("http://127.0.0.1:9/thanks")
    assert (await browser.post(question, data={"result": "failed"})).status_code == 410


async def test_what_is_over_or_unknown_says_so(shop, checkout, browser):
    session = shop.v1.checkout.sessions.create(checkout)
    shop.v1.checkout.sessions.expire(session.id)
    assert (await browser.get(path(session))).status_code == 410
    paid = await browser.post(path(session), data=CARD)
    assert paid.status_code == 400
    assert "expired" in paid.text
    assert (await browser.get("/c/pay/cs_test_nobody")).status_code == 404
    assert (await browser.post("/c/pay/cs_test_nobody", data=CARD)).status_code == 404


async def test_a_session_takes_only_its_kinds(shop, checkout, browser):
    session = shop.v1.checkout.sessions.create({**checkout, "payment_method_types": ["card"]})
    assert "Bank debit (" not in (await browser.get(path(session))).text
    debit = {"email": "page@example.com", "method": "us_bank_account", "account": "000123456789"}
    assert (await browser.post(path(session), data=debit)).status_code == 422


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 850)])
async def test_in_a_browser_without_scripts(shop, checkout, receiver, sandbox, chromium, width, height):
    # The shop's thank-you page is any page that answers; the receiver's own address is one.
    checkout["success_url"] = receiver.url + "?session={CHECKOUT_SESSION_ID}"
    session = shop.v1.checkout.sessions.create(checkout)
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        context = await browser.new_context(viewport={"width": width, "height": height}, java_script_enabled=False)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        await page.goto(session.url)
        assert await page.get_by_role("button", name="Pay $25.00").is_visible()
        # Nothing sticks out at the side: the page is never wider than the window.
        assert (await page.locator("main").bounding_box())["width"] <= width
        assert not await page.get_by_label("Account number").is_visible()
        await page.get_by_label("E-mail").fill("browser@example.com")
        await page.get_by_label("Card number").fill("4000 0000 0000 0002")
        await page.get_by_role("button", name="Pay $25.00").click()
        assert await page.get_by_role("alert").inner_text() == "Your card was declined."
        await page.get_by_text("Bank debit (the bank answers later)").click()
        assert await page.get_by_label("Account number").is_visible()
        await page.get_by_label("Card", exact=True).check()
        await page.get_by_label("Card number").fill("4242 4242 4242 4242")
        assert complaints == []
        await page.get_by_role("button", name="Pay $25.00").click()
        assert page.url == f"{receiver.url}?session={session.id}"
        await browser.close()
    await sandbox.delivered()
    assert "checkout.session.completed" in receiver.types()
