"""The credits API as it is published: every request sent as it is written there, every answer walked field by field."""

import inspect
import json
import re
from decimal import Decimal

import httpx
import pytest

from tallystick import AsyncCreditClient, CreditClient, CreditService
from tallystick.accounts import user
from tallystick.base import strict_json
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.signature import sign

TOKEN = "services-token-0123456789"
SECRET = "whsec_of_the_tests"

PURCHASE_BODY = """{
  "amount": 25
}"""
PURCHASE = """{
  "checkout_url": "https://checkout.stripe.com/c/pay_...",
  "session_id": "cs_live_..."
}"""
BALANCE = """{
  "balance": 18.50,
  "last_purchase_at": "2026-02-25T10:00:00Z",
  "last_deduction_at": "2026-02-27T11:30:00Z"
}"""
DEDUCT_BODY = """{
  "user_id": "user_abc123",
  "amount": 0.05
}"""
BATCH_BODY = """{
  "deductions": [
    { "user_id": "user_abc123", "amount": 0.05 },
    { "user_id": "user_abc123", "amount": 0.12 }
  ]
}"""
HISTORY = """{
  "transactions": [
    { "type": "purchase", "amount": 25.00, "created_at": "2026-02-25T10:00:00Z" },
    { "type": "deduction", "amount": -0.05, "created_at": "2026-02-27T11:30:00Z" }
  ]
}"""
# What answers have beside what is published, so that a field that comes or goes is noticed.
MORE = {"order_id", "available", "held", "id", "next_cursor"}

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_AMOUNT = re.compile(r"-?\d+\.\d{2,9}")


class Number(str):
    """A JSON number as it was written: 18.50 is not 18.5."""

    __slots__ = ()


def read(text):
    return json.loads(text, parse_float=Number, parse_int=Number)


def differences(published, answered, path="$"):
    """What a caller who reads `published` would stumble over in `answered`; fields beyond it are named, too."""
    match published:
        case dict():
            if type(answered) is not dict:
                return [f"{path} is no object"]
            found = [f"{path}.{name} is missing" for name in published.keys() - answered.keys()]
            found += [f"{path}.{name} is new" for name in answered.keys() - published.keys() - MORE]
            for name in published.keys() & answered.keys():
                found += differences(published[name], answered[name], f"{path}.{name}")
            return found
        case list():
            if type(answered) is not list or len(answered) < len(published):
                return [f"{path} is no list of {len(published)}"]
            by_type = {item["type"]: item for item in published}
            if {item["type"] for item in answered} != set(by_type):
                return [f"{path} has other types than {sorted(by_type)}"]
            pairs = [(by_type[item["type"]], item) for item in answered]
            return [one for place, pair in enumerate(pairs) for one in differences(*pair, f"{path}[{place}]")]
        case Number():
            same_sign = type(answered) is Number and (answered < "0") == (published < "0")
            return (
                [] if same_sign and _AMOUNT.fullmatch(answered) else [f"{path} is {answered!r}, not like {published}"]
            )
        case str() if _TIME.fullmatch(published):
            return [] if type(answered) is str and _TIME.fullmatch(answered) else [f"{path} is {answered!r}, no time"]
        case str():
            return [] if type(answered) is str and answered else [f"{path} is {answered!r}, no text"]
    raise AssertionError(f"{path}: nothing published is a {type(published)}")


@pytest.mark.parametrize(
    ("answered", "found"),
    [
        (
            '{"balance": 18.5, "last_purchase_at": "2026-02-25T10:00:00Z"}',
            ["last_deduction_at is missing", "is '18.5'"],
        ),
        ('{"balance": "18.50", "last_purchase_at": null, "last_deduction_at": 5}', ["'18.50'", "None", "'5'"]),
        (
            '{"balance": -1.00, "last_purchase_at": "2026-02-25T10:00:00.5Z", "last_deduction_at": ""}',
            ["-1.00", ".5Z", "''"],
        ),
        ("[]", ["is no object"]),
    ],
)
def test_the_walk_sees_what_differs(answered, found):
    seen = differences(read(BALANCE), read(answered))
    assert len(seen) == len(found)
    for words in found:
        assert any(words in one for one in seen), seen


def test_the_walk_sees_new_fields_and_other_types():
    assert differences(read(PURCHASE), read('{"checkout_url": "u", "session_id": "s", "secret": "x"}')) == [
        "$.secret is new"
    ]
    assert differences(read(HISTORY), read('{"transactions": [{"type": "x"}, {"type": "purchase"}]}')) != []


@pytest.fixture
async def api(new_api, stripe_address):
    stripe = StripeClient("sk_test_of_the_tests", api_base=stripe_address)
    yield await new_api(stripe=stripe, webhook_secrets=(SECRET,), service_tokens=(TOKEN,))
    await stripe.close()


@pytest.fixture
async def ada(pool):
    return await user.sign_up(pool, email="ada@example.com", password="correct horse")


@pytest.fixture
def ask(api, ada):
    """Send what is published, as whoever it is for, with Ada in the place of its user."""

    async def send(method, path, body=None, *, service=False):
        who = {"X-Reeve-Services-Token": TOKEN} if service else {"Authorization": f"Bearer {ada.session.token}"}
        headers = who | ({"Content-Type": "application/json"} if body else {})
        content = body and body.replace("user_abc123", ada.user_id)
        return await api.request(method, f"/api/credits/{path}", content=content, headers=headers)

    return send


async def pay(stripe_address, session_id):
    """The buyer pays; the webhook of the payment, as Stripe signs it."""
    async with httpx.AsyncClient(base_url=stripe_address, auth=("sk_test_of_the_tests", ""), timeout=30) as stripe:
        assert (await stripe.post(f"/_sandbox/checkout/{session_id}/pay", json={})).status_code == 200
        session = (await stripe.get(f"/v1/checkout/sessions/{session_id}")).json()
        asked = {"type": "payment_intent.succeeded", "limit": 100}
        events = (await stripe.get("/v1/events", params=asked)).json()["data"]
    [event] = [one for one in events if one["data"]["object"]["id"] == session["payment_intent"]]
    body = json.dumps(event).encode()
    return body, {"Stripe-Signature": sign(body, SECRET)}


async def test_the_published_story_field_by_field(api, ask, ada, stripe_address):
    bought = await ask("POST", "purchase", PURCHASE_BODY)
    assert (bought.status_code, differences(read(PURCHASE), read(bought.text))) == (200, [])
    assert bought.json()["session_id"].startswith("cs_")
    body, headers = await pay(stripe_address, bought.json()["session_id"])
    taken = await api.post("/api/credits/webhook", content=body, headers=headers)
    assert taken.status_code == 200

    batch = await ask("POST", "deduct/batch", BATCH_BODY, service=True)
    told = read(batch.text)
    assert (batch.status_code, told["succeeded"], told["deducted"]) == (200, "2", "0.17")
    assert [result["deducted"] for result in told["results"]] == ["0.05", "0.12"]
    await ask("POST", "deduct", DEDUCT_BODY.replace("0.05", "6.28"), service=True)
    deducted = await ask("POST", "deduct", DEDUCT_BODY, service=True)
    assert (deducted.status_code, deducted.json()["user_id"]) == (200, ada.user_id)
    assert '"deducted":0.05,"balance":18.50' in deducted.text

    balance = await ask("GET", "balance")
    assert differences(read(BALANCE), read(balance.text)) == []
    assert read(balance.text)["balance"] == "18.50", "as it is written, not 18.5"
    history = await ask("GET", "history")
    assert differences(read(HISTORY), read(history.text)) == []
    lines = [(line["type"], line["amount"]) for line in read(history.text)["transactions"]]
    assert lines[0] == ("deduction", "-0.05")
    assert lines[-1] == ("purchase", "25.00")
    assert len(lines) == 5


@pytest.mark.parametrize("amount", [5, 25, 100])
async def test_a_dollar_is_a_credit_for_every_published_amount(ask, pool, amount):
    assert (await ask("POST", "purchase", f'{{"amount": {amount}}}')).status_code == 200
    order = await pool.fetchrow("select amount_minor, currency, credits from payment_order")
    assert tuple(order) == (amount * 100, "usd", amount * 10**9)


async def test_too_little_says_balance_and_required(ask):
    refused = await ask("POST", "deduct", DEDUCT_BODY, service=True)
    error = strict_json.loads(refused.content)["error"]
    assert (refused.status_code, error["balance"], error["required"]) == (402, 0, Decimal("0.05"))


@pytest.mark.parametrize("class_", [CreditService, CreditClient, AsyncCreditClient])
@pytest.mark.parametrize(
    ("method", "published"),
    [
        ("get_balance", ["user_id"]),
        ("purchase", ["user_id", "amount"]),
        ("deduct", ["user_id", "amount"]),
        ("deduct_batch", ["deductions"]),
    ],
)
def test_the_published_methods_take_the_published_arguments(class_, method, published):
    parameters = list(inspect.signature(getattr(class_, method)).parameters.values())[1:]
    assert [parameter.name for parameter in parameters[: len(published)]] == published
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters[: len(published)])
    assert all(parameter.default is not parameter.empty for parameter in parameters[len(published) :])
