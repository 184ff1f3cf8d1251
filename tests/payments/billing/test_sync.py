"""Products, prices and meters at Stripe follow the catalog, whatever happens on the way."""

from datetime import timedelta
from uuid import uuid4

import pytest

from tallystick.catalog.publish import apply
from tallystick.payments.billing.linked import linked
from tallystick.payments.billing.sync import sync
from tallystick.payments.errors import PaymentPending
from tests.payments.billing.subscriber import LONG_AGO

CATALOG = """
[[plan]]
slug = "{slug}"
name = "By the piece"
strategy = "payg"
price = 19
usage_billing = "stripe"
charges_models = false
meters = [
    {{ meter = "agent_sessions", overage = {{ price = 0.25 }} }},
    {{ meter = "document_page", overage = {{ price = 1, per = 1_000 }} }},
]

[[plan]]
slug = "free-{slug}"
name = "Nothing to bill"
strategy = "flat"
price = 0
"""


@pytest.fixture
async def publish(pool):
    """Publish the catalog, a day later each time. Slugs are of this test alone: the offline Stripe is for all."""
    days = iter(range(1000))
    slug = f"s{uuid4().hex[:12]}"

    async def do(change=lambda text: text, text=CATALOG):
        async with pool.acquire() as connection:
            await apply(connection, change(text.format(slug=slug)), now=LONG_AGO + timedelta(days=next(days)))
        return slug

    return do


def _short(changes):
    return [(change.what, change.kind) for change in changes]


async def _prices_at_stripe(stripe, slug):
    page = await stripe.v1.prices.list_async({"limit": 100})
    rows = [row.to_dict() async for row in page.auto_paging_iter()]
    return [row for row in rows if str(row["product"]).startswith(f"tallystick_plan_{slug}")]


async def test_all_is_made_once_and_a_dry_run_makes_nothing(pool, stripe, publish):
    slug = await publish()
    shown = await sync(pool, stripe, dry_run=True)
    assert await _prices_at_stripe(stripe, slug) == []
    assert [row async for row in _rows(pool)] == []

    made = await sync(pool, stripe, by="operator:ada")
    acts = await pool.fetch("select act, done_by from audit_event where act like 'stripe.%' order by seq")
    assert [tuple(row) for row in acts] == [(f"stripe.{one.kind}_made", "operator:ada") for one in made]
    assert [(one.what, one.kind, one.name) for one in made] == [(one.what, one.kind, one.name) for one in shown]
    prices = await _prices_at_stripe(stripe, slug)
    assert sorted(str(one["unit_amount_decimal"]) for one in prices) == ["0.1", "1900", "25"]
    assert {one["recurring"]["usage_type"] for one in prices if one["recurring"]["meter"]} == {"metered"}
    names = [(await stripe.v1.products.retrieve_async(one["product"])).name for one in prices]
    assert len(set(names)) == 3, "an invoice names its lines after products"
    assert _short(await sync(pool, stripe)) == []
    assert len(await _prices_at_stripe(stripe, slug)) == 3


async def test_what_was_made_and_not_kept_is_found_again(pool, stripe, publish):
    slug = await publish()
    await sync(pool, stripe)
    await pool.execute("delete from stripe_price")
    await pool.execute("delete from stripe_meter")
    again = await sync(pool, stripe)
    assert {(one.what, one.kind) for one in again} == {("found", "price")}
    assert len(await _prices_at_stripe(stripe, slug)) == 3
    assert len([row async for row in _rows(pool)]) == 3
    assert await pool.fetchval("select count(*) from stripe_meter") == 2


async def test_a_run_that_ends_anywhere_is_gone_on_with(pool, stripe, control, publish):
    slug = await publish()
    failed = 0
    for _ in range(40):
        await control("faults", kind="error_500", times=3, path="/v1/", method="POST")
        try:
            await sync(pool, stripe)
        except PaymentPending:
            failed += 1
            await control("faults", kind="reset_after", times=1, path="/v1/", method="POST")
        else:
            break
    assert failed
    assert len(await _prices_at_stripe(stripe, slug)) == 3
    assert len([row async for row in _rows(pool)]) == 3


async def test_a_new_version_gets_a_new_price_and_nobody_new_gets_the_old_one(pool, stripe, publish):
    slug = await publish()
    await sync(pool, stripe)
    await publish(lambda text: text.replace("price = 19", "price = 29"))
    changes = await sync(pool, stripe)
    assert sorted(_short(changes)) == [("archive", "price")] * 3 + [("make", "price")] * 3
    by_amount = {(str(one["unit_amount_decimal"]), one["active"]) for one in await _prices_at_stripe(stripe, slug)}
    assert {("1900", False), ("2900", True)} <= by_amount
    assert _short(await sync(pool, stripe)) == []


async def test_a_price_that_an_operator_made_is_taken_as_it_is_and_looked_at(pool, stripe, publish):
    product = await stripe.v1.products.create_async({"name": "By hand"})
    price = await stripe.v1.prices.create_async(
        {"product": product.id, "currency": "usd", "unit_amount": 1900, "recurring": {"interval": "month"}}
    )
    named = f'price = 19\nstripe_price = "{price.id}"'
    slug = await publish(lambda text: text.replace("price = 19", named))
    assert _short(await sync(pool, stripe)).count(("make", "price")) == 2  # the meters' alone
    assert all(one["recurring"]["meter"] for one in await _prices_at_stripe(stripe, slug))
    found = await linked(pool, livemode=False)
    assert [one.plan for one in found.prices if one.id == price.id] == [slug]

    await publish(lambda text: text.replace("price = 19", named.replace("19", "21")))
    problems = [one for one in await sync(pool, stripe) if one.what == "problem"]
    assert [one.id for one in problems] == [price.id]
    assert "2100" in problems[0].detail


async def test_a_lookup_key_that_others_use_is_a_problem_and_no_price_of_ours(pool, stripe, publish):
    slug = await publish()
    version = await pool.fetchval("select id from catalog_entry where kind = 'plan' and name = $1", slug)
    product = await stripe.v1.products.create_async({"name": "Someone else's"})
    await stripe.v1.prices.create_async(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 1,
            "recurring": {"interval": "year"},
            "lookup_key": f"tallystick_{slug}_{version}",
        }
    )
    problems = [one for one in await sync(pool, stripe) if one.what == "problem"]
    assert [one.kind for one in problems] == ["price"]
    assert [row["plan_version"] async for row in _rows(pool) if row["meter"] is None] == []


async def _rows(pool):
    for row in await pool.fetch("select plan_version, meter, id from stripe_price"):
        yield row
