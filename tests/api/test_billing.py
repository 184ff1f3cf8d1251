"""The billing API, to the letter of what it promises, against the offline Stripe."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.accounts import api_key, user
from tallystick.accounts.api_key import Scope
from tallystick.catalog.publish import apply
from tallystick.payments.billing.sync import sync
from tallystick.payments.stripe.client import StripeClient

CATALOG = """
[[plan]]
slug = "billing-test"
name = "Growth"
strategy = "flat"
price = 99
"""
LONG_AGO = datetime(2023, 1, 1, tzinfo=UTC)
WISH = {"successUrl": "https://app.example.com/settings/billing?success=1", "cancelUrl": "https://app.example.com/"}


@pytest.fixture
async def stripe(stripe_address):
    client = StripeClient("sk_test_of_the_tests", api_base=stripe_address, timeout_s=5.0, retries=0)
    yield client
    await client.close()


@pytest.fixture
async def price(pool, stripe):
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=LONG_AGO)
    await sync(pool, stripe)
    return await pool.fetchval("select id from stripe_price where meter is null")


@pytest.fixture
async def welcome(pool):
    return await user.sign_up(pool, email="ada@example.com", password="correct horse")


@pytest.fixture
async def customer(pool, stripe, welcome):
    """At Stripe, as provisioning makes it."""
    made = await stripe.v1.customers.create_async({"metadata": {"organization": welcome.organization_id}})
    await pool.execute(
        "insert into stripe_customer (organization, livemode, id) values ($1, false, $2)",
        welcome.organization_id,
        made.id,
    )
    return made.id


@pytest.fixture
async def bearer(pool, welcome):
    async with pool.acquire() as connection:
        made = await api_key.create(
            connection,
            organization=welcome.organization_id,
            name="billing",
            scopes=[Scope.BILLING],
            by=welcome.user_id,
        )
    return {"authorization": f"Bearer {made.secret}"}


@pytest.fixture
async def api(new_api, stripe):
    return await new_api(stripe=stripe, return_hosts=("app.example.com", "localhost:3000"))


async def test_a_key_of_the_billing_scope_is_led_to_a_page_and_the_same_wish_to_the_same_one(
    api, bearer, customer, price, pool
):
    first = await api.post("/api/billing/checkout", json={"priceId": price, **WISH}, headers=bearer)
    assert (first.status_code, [*first.json()]) == (200, ["url"])
    again = await api.post("/api/billing/checkout", json={"priceId": price, **WISH}, headers=bearer)
    assert again.json() == first.json()
    (row,) = await pool.fetch("select id, state, asked_by, stripe_session from billing_checkout")
    assert row["state"] == "open"
    assert row["asked_by"].startswith("key_")
    (act,) = await pool.fetch("select done_by, subject from audit_event where act = 'checkout.started'")
    assert tuple(act) == (row["asked_by"], row["id"])


async def test_the_portal_opens_for_the_customer(api, bearer, customer, pool):
    answer = await api.post(
        "/api/billing/portal", json={"returnUrl": "https://app.example.com/settings/billing"}, headers=bearer
    )
    assert answer.status_code == 200, answer.text
    assert [*answer.json()] == ["url"]
    assert await pool.fetchval("select subject from audit_event where act = 'portal.opened'") == customer


@pytest.mark.parametrize(
    ("path", "body"),
    [("checkout", WISH), ("portal", {"returnUrl": "https://app.example.com/"})],
)
async def test_without_a_customer_at_stripe_it_says_so(api, bearer, price, path, body):
    body = body if path == "portal" else {"priceId": price, **body}
    answer = await api.post(f"/api/billing/{path}", json=body, headers=bearer)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "customer_not_ready")
    assert "Try again" in answer.json()["error"]["message"]


async def test_the_status_has_exactly_these_fields(api, bearer, pool, welcome):
    answer = await api.get("/api/billing/status", headers=bearer)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [*found] == ["plan", "status", "currentPeriodEnd", "meteredEnabled", "sessionCount", "llmTokens"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.pop("currentPeriodEnd"))
    assert found == {
        "plan": "prepaid", "status": "none", "meteredEnabled": False, "sessionCount": 0, "llmTokens": 0,
    }  # fmt: skip


async def test_the_status_counts_the_sessions_and_tokens_of_the_period(api, bearer, pool, welcome):
    account = await pool.fetchval("select account from organization where id = $1", welcome.organization_id)
    now = datetime.now(UTC)
    for at, meter, units in (
        (now, "agent_sessions", 3),
        (now, "output_tokens", 500),
        (now - timedelta(days=40), "agent_sessions", 100),
    ):
        await pool.execute(
            """insert into usage_event (account, id, at, recorded_at, starts_at, ends_at, late, meter, quantity,
                   increase, over_cap, charge)
               values ($1, $2, $3, $3, $3, $3::timestamptz + interval '1 month', false, $4, $5, $5, false, 0)""",
            account, f"{meter}-{units}", at, meter, units,
        )  # fmt: skip
    found = (await api.get("/api/billing/status", headers=bearer)).json()
    assert (found["sessionCount"], found["llmTokens"]) == (3, 500)


async def test_there_is_a_plan_for_every_price_that_is_sold_and_for_no_other(api, bearer, customer, price, pool):
    unknown = await api.post("/api/billing/checkout", json={"priceId": "price_of_others", **WISH}, headers=bearer)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    async with pool.acquire() as connection:
        await apply(connection, CATALOG.replace("price = 99", "price = 109"), now=LONG_AGO + timedelta(days=1))
    old = await api.post("/api/billing/checkout", json={"priceId": price, **WISH}, headers=bearer)
    assert (old.status_code, old.json()["error"]["code"]) == (409, "plan_not_on_sale")


async def test_who_is_subscribed_is_sent_to_the_portal(api, bearer, customer, price, pool, welcome):
    await pool.execute(
        "insert into stripe_subscription (id, organization, livemode, status, created_at)"
        " values ('sub_there', $1, false, 'active', now())",
        welcome.organization_id,
    )
    answer = await api.post("/api/billing/checkout", json={"priceId": price, **WISH}, headers=bearer)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "already_subscribed")
    assert "/api/billing/portal" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"successUrl": "https://evil.example/"}, "successUrl"),
        ({"successUrl": "https://app.example.com@evil.example/"}, "successUrl"),
        ({"cancelUrl": "http://app.example.com/"}, "cancelUrl"),
        ({"cancelUrl": "javascript:alert(1)"}, "cancelUrl"),
        ({"cancelUrl": 7}, "cancelUrl"),
        ({"priceId": ""}, "priceId"),
        ({"organization": "org_of_others"}, "organization"),
    ],
)
async def test_a_wrong_field_is_named(api, bearer, customer, price, change, field):
    answer = await api.post("/api/billing/checkout", json={"priceId": price, **WISH, **change}, headers=bearer)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


async def test_a_missing_field_is_named(api, bearer):
    answer = await api.post("/api/billing/portal", json={}, headers=bearer)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "returnUrl")


async def test_without_stripe_nothing_can_be_subscribed_to_and_the_status_is_still_there(new_api, bearer):
    closed = await new_api()
    body = {"priceId": "price_1", "successUrl": "http://127.0.0.1/", "cancelUrl": "http://127.0.0.1/"}
    answer = await closed.post("/api/billing/checkout", json=body, headers=bearer)
    assert answer.status_code == 422  # by default only this server's own pages
    own = {"successUrl": "https://pay.example.com/", "cancelUrl": "https://pay.example.com/", "priceId": "price_1"}
    answer = await closed.post("/api/billing/checkout", json=own, headers=bearer)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "purchases_closed")
    assert (await closed.get("/api/billing/status", headers=bearer)).status_code == 200


async def _invoice(pool, organization, id_, *, day, status="paid"):
    await pool.execute(
        """insert into stripe_invoice (id, organization, livemode, number, status, currency, amount_due_minor,
               amount_paid_minor, period_starts_at, period_ends_at, hosted_url, created_at)
           values ($1, $2, false, $1, $3, 'usd', 9900, 9900, $4, $4, 'https://invoice.example/1', $4)""",
        id_, organization, status, LONG_AGO + timedelta(days=day),
    )  # fmt: skip


async def test_invoices_are_listed_the_newest_first_page_by_page_and_no_drafts(api, bearer, pool, welcome):
    other = await user.sign_up(pool, email="eve@example.com", password="correct horse")
    for number in range(3):
        await _invoice(pool, welcome.organization_id, f"in_{number}", day=number)
    await _invoice(pool, welcome.organization_id, "in_draft", day=9, status="draft")
    await _invoice(pool, other.organization_id, "in_of_others", day=9)
    first = (await api.get("/api/billing/invoices?limit=2", headers=bearer)).json()
    assert [one["id"] for one in first["invoices"]] == ["in_2", "in_1"]
    assert first["invoices"][0]["url"] == "https://invoice.example/1"
    last = (await api.get(f"/api/billing/invoices?limit=2&cursor={first['next_cursor']}", headers=bearer)).json()
    assert ([one["id"] for one in last["invoices"]], last["next_cursor"]) == (["in_0"], None)
    theirs = (await api.get("/api/billing/invoices?cursor=in_of_others", headers=bearer)).json()
    assert theirs["invoices"] == []
