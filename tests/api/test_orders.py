import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from tallystick.accounts import user
from tallystick.base import strict_json
from tallystick.catalog.book import Book
from tallystick.catalog.file import parse
from tallystick.catalog.timeline import Version
from tallystick.payments.orders.approve import approve
from tallystick.payments.stripe.client import StripeClient

BANK = "Example Bank, IBAN DE02 1203 0000 0000 2020 51"
CATALOG = """
[[pack]]
slug = "starter"
name = "Starter"
amount = 5
credits = 6
description = "For individual developers."

[[pack]]
slug = "dedicated"
name = "Dedicated"
amount = 5000
credits = 6000
description = "For dedicated onboarding, manual settlement and procurement support."
payment = "manual"

[[coupon]]
code = "half"
percent_off = 50
packs = ["starter", "dedicated"]

[[coupon]]
code = "WELCOME-5"
free_credits = 5
free_days = 30
"""


def book():
    since = datetime.now(UTC) - timedelta(days=1)
    entries = [
        (kind, name, wanted.document) for kind, names in parse(CATALOG).items() for name, [wanted] in names.items()
    ]
    return Book(
        Version(id=number, kind=kind, name=name, effective_from=since, document=document, source="file")
        for number, (kind, name, document) in enumerate(entries, 1)
    )


@pytest.fixture
async def stripe(stripe_address):
    client = StripeClient("sk_test_of_the_tests", api_base=stripe_address, timeout_s=5.0)
    yield client
    await client.close()


@pytest.fixture
async def api(new_api, stripe):
    return await new_api(book=book, transfer_to=BANK, stripe=stripe)


@pytest.fixture
async def ada(pool):
    return await user.sign_up(pool, email="ada@example.com", password="correct horse")


@pytest.fixture
async def eve(pool):
    return await user.sign_up(pool, email="eve@example.com", password="correct horse")


def ask(api, who):
    async def send(method, path, body=None, **headers):
        content = None if body is None else body if isinstance(body, bytes) else strict_json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await api.request(
            method, f"/api/{path}", content=content, headers={"authorization": f"Bearer {who.session.token}", **named}
        )
        found = strict_json.loads(answer.content) if answer.content else {}
        return answer.status_code, found.get("error", found)

    return send


async def test_from_an_order_to_its_credits(api, ada, pool):
    send = ask(api, ada)
    status, made = await send("POST", "orders", {"amount": 2500, "reference": "PO 4711"})
    assert (status, made["state"], made["reference"]) == (201, "awaiting_payment", "PO 4711")
    assert (made["amount"], made["credits"], made["transfer_to"]) == (Decimal("2500.00"), Decimal("2500.00"), BANK)
    assert (await send("GET", "credits/balance"))[1]["balance"] == 0
    await approve(pool, made["id"], proof="statement 12", by="operator:ada", four_eyes=False)
    _, after = await send("GET", f"orders/{made['id']}")
    assert (after["state"], after["transfer_to"], after["credited_at"] is not None) == ("credited", None, True)
    assert "proof" not in after, "what operators say among themselves"
    assert (await send("GET", "credits/balance"))[1]["balance"] == 2500


async def test_the_same_key_is_the_same_order(api, ada):
    send = ask(api, ada)
    body = {"pack": "dedicated"}
    first, second = [await send("POST", "orders", body, idempotency_key="po-1") for _ in range(2)]
    assert first == second
    assert (first[1]["amount"], first[1]["credits"], first[1]["reference"]) == (5000, 6000, first[1]["id"])
    assert (await send("POST", "orders", {"amount": 7}, idempotency_key="po-1"))[0] == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        ({"amount": 5, "pack": "starter"}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": "5"}, "amount"),
        ({"amount": 10_001}, "amount"),
        ({"amount": Decimal("5.001")}, "amount"),
        ({"amount": 5, "reference": ""}, "reference"),
        ({"amount": 5, "reference": "x" * 141}, "reference"),
        ({"amount": 5, "organization": "org_x"}, "organization"),
        (b'{"amount": 5, "amount": 6}', "amount"),
        (b"[]", "body"),
    ],
)
async def test_what_is_wrong_is_named_and_makes_no_order(api, ada, pool, body, field):
    status, error = await ask(api, ada)("POST", "orders", body)
    assert (status, error["field"]) == (422, field)
    assert await pool.fetchval("select count(*) from payment_order") == 0


async def test_history_is_read_page_by_page(api, ada):
    send = ask(api, ada)
    made = [(await send("POST", "orders", {"amount": number}))[1]["id"] for number in range(1, 6)]
    found, cursor = [], None
    while True:
        _, page = await send("GET", "orders?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        found += [order["id"] for order in page["orders"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == made[::-1]
    assert (await send("GET", "orders?state=credited"))[1]["orders"] == []
    assert (await send("GET", "orders?state=nonsense"))[1]["field"] == "state"
    for wrong in ("%00", "x", "org_06gvuo0qmdok93o0e8h41q43bg"):
        assert (await send("GET", f"orders?cursor={wrong}"))[1]["field"] == "cursor"


async def test_anothers_order_is_not_there(api, ada, eve):
    _, made = await ask(api, ada)("POST", "orders", {"amount": 5})
    send = ask(api, eve)
    assert (await send("GET", f"orders/{made['id']}"))[0] == 404
    assert (await send("GET", "orders"))[1]["orders"] == []
    assert (await send("GET", f"orders/{made['id']}?organization={ada.organization_id}"))[0] == 404


async def test_no_more_wait_at_a_time_than_a_person_can_look_at(api, ada):
    send = ask(api, ada)
    statuses = [(await send("POST", "orders", {"amount": 5}))[0] for _ in range(21)]
    assert statuses == [201] * 20 + [409]


async def test_where_no_account_is_set_nobody_is_told_to_transfer(new_api, ada):
    closed = await new_api(book=book)
    assert (await ask(closed, ada)("POST", "orders", {"amount": 5}))[1]["code"] == "manual_settlement_closed"


async def test_packs_say_how_they_are_sold_and_one_that_is_settled_by_hand_has_no_page(api, ada):
    send = ask(api, ada)
    _, found = await send("GET", "credits/packs")
    assert [(pack["pack"], pack["payment"], pack["credits"]) for pack in found["packs"]] == [
        ("starter", "checkout", 6),
        ("dedicated", "manual", 6000),
    ]
    assert (await send("POST", "credits/purchase", {"pack": "dedicated"}))[1]["code"] == "settled_by_hand"


async def test_a_coupon_on_a_purchase_and_one_by_itself(api, ada, pool):
    send = ask(api, ada)
    status, started = await send("POST", "credits/purchase", {"pack": "starter", "coupon": "Half"})
    assert status == 200
    _, order = await send("GET", f"orders/{started['order_id']}")
    assert (order["amount"], order["discount"], order["coupon"], order["credits"]) == (
        Decimal("2.5"),
        Decimal("2.5"),
        "HALF",
        6,
    )
    assert order["checkout_url"] == started["checkout_url"]
    again = await send("POST", "credits/purchase", {"pack": "starter", "coupon": "half"})
    assert (again[0], again[1]["code"]) == (409, "coupon_used_up")
    assert (await send("POST", "credits/purchase", {"amount": 5, "coupon": "half"}))[1]["code"] == "coupon_not_fitting"
    assert (await send("POST", "credits/purchase", {"amount": 5, "coupon": "none"}))[1]["code"] == "coupon_not_found"
    assert (await send("POST", "credits/redeem", {"code": "half"}))[1]["code"] == "coupon_not_fitting"
    _, redeemed = await send("POST", "credits/redeem", {"code": "welcome-5"})
    assert (redeemed["credits"], redeemed["balance"]) == (5, 5)
    assert (await send("POST", "credits/redeem", {"code": "welcome-5"}))[1]["code"] == "coupon_used_up"
    assert await pool.fetchval("select count(*) from payment_order") == 1


async def test_guessing_codes_is_answered_so_often(api, ada):
    send = ask(api, ada)
    statuses = [(await send("POST", "credits/redeem", {"code": f"guess-{n}"}))[0] for n in range(21)]
    assert statuses == [404] * 20 + [429]


@pytest.mark.parametrize("value", [1, "true", None])
async def test_whether_a_card_is_saved_is_true_or_false(api, ada, value):
    status, error = await ask(api, ada)("POST", "credits/purchase", {"amount": 5, "save_card": value})
    assert (status, error["field"]) == (422, "save_card")


async def test_top_ups_are_agreed_shown_and_ended(api, ada, pool, stripe_address):
    send = ask(api, ada)
    wanted = {"threshold": 5, "amount": 25, "monthly_max": 100}
    assert await send("GET", "top-up") == (200, {"top_up": None})
    assert (await send("PUT", "top-up", wanted))[1]["code"] == "no_saved_card"
    async with httpx.AsyncClient(base_url=stripe_address, auth=("sk_test_of_the_tests", "")) as client:
        customer = (await client.post("/v1/customers")).json()["id"]
        await client.post("/v1/payment_methods/pm_card_visa/attach", data={"customer": customer})
    await pool.execute(
        "insert into stripe_customer (organization, livemode, id) values ($1, false, $2)", ada.organization_id, customer
    )
    status, answer = await send("PUT", "top-up", wanted)
    agreed = {"enabled": True, "threshold": 5, "amount": 25, "monthly_max": 100, "cool_down_s": 600,
              "card": "visa 4242", "stopped": None, "stopped_at": None, "charged_this_month": 0}  # fmt: skip
    assert (status, answer) == (200, {"top_up": agreed})
    assert await send("GET", "top-up") == (200, answer)
    for field, value in (("cool_down_s", 1), ("cool_down_s", "600"), ("monthly_max", 24), ("enabled", 1), ("x", 1)):
        assert (await send("PUT", "top-up", {**wanted, field: value}))[1]["field"] == field
    assert [(await send("DELETE", "top-up"))[0] for _ in range(2)] == [204, 204]
    assert await send("GET", "top-up") == (200, {"top_up": None})
    acts = [
        row["act"] for row in await pool.fetch("select act from audit_event where act like 'top_up.%' order by seq")
    ]
    assert acts == ["top_up.set", "top_up.removed"]


async def test_alerts_are_set_and_shown(api, ada):
    send = ask(api, ada)
    assert await send("PUT", "balance-alerts", {"thresholds": [5, Decimal("20.5"), 5]}) == (
        200,
        {"thresholds": [Decimal("20.5"), 5]},
    )
    assert (await send("GET", "balance-alerts"))[1] == {"thresholds": [Decimal("20.5"), 5]}
    for wrong in (5, [0], ["5"], [True], [*range(1, 12)]):
        assert (await send("PUT", "balance-alerts", {"thresholds": wrong}))[0] == 422
    assert json.dumps((await send("PUT", "balance-alerts", {"thresholds": []}))[1]) == '{"thresholds": []}'
