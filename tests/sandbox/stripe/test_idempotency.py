"""The same key does the same thing once, as Stripe documents it."""

import asyncio
import uuid

import httpx
import pytest
import stripe


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def raw(sandbox):
    async with httpx.AsyncClient(verify=False, base_url=sandbox.address, auth=("sk_test_x", "")) as client:
        yield client


def test_the_same_request_again_gets_the_same_answer(shop, checkout, key):
    first = shop.v1.checkout.sessions.create(checkout, {"idempotency_key": key})
    second = shop.v1.checkout.sessions.create(checkout, {"idempotency_key": key})
    assert first.id == second.id
    assert "idempotent-replayed" not in first.last_response.headers
    assert second.last_response.headers["idempotent-replayed"] == "true"
    assert second.last_response.headers["original-request"] == first.last_response.headers["request-id"]
    assert second.last_response.headers["request-id"] != first.last_response.headers["request-id"]


def test_other_parameters_are_an_error(shop, key):
    shop.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": key})
    with pytest.raises(stripe.IdempotencyError) as refused:
        shop.v1.customers.create({"email": "b@example.com"}, {"idempotency_key": key})
    assert refused.value.http_status == 400
    assert refused.value.json_body["error"]["type"] == "idempotency_error"
    assert shop.v1.customers.list({"email": "b@example.com"}).data == []


def test_another_endpoint_is_an_error(shop, key):
    shop.v1.customers.create({}, {"idempotency_key": key})
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        shop.v1.products.create({"name": "x"}, {"idempotency_key": key})


def test_a_decline_is_replayed_and_charges_nothing_twice(shop, key):
    customer = shop.v1.customers.create({}).id
    asked = {
        "amount": 900,
        "currency": "usd",
        "customer": customer,
        "confirm": True,
        "payment_method": "pm_card_visa_chargeDeclined",
    }
    for _ in range(2):
        with pytest.raises(stripe.CardError) as declined:
            shop.v1.payment_intents.create(asked, {"idempotency_key": key})
    assert declined.value.headers["idempotent-replayed"] == "true"
    assert len(shop.v1.charges.list({"customer": customer}).data) == 1


def test_a_request_that_was_never_begun_leaves_the_key_free(shop, key):
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.payment_intents.create({"amount": "many", "currency": "usd"}, {"idempotency_key": key})
    made = shop.v1.payment_intents.create({"amount": 900, "currency": "usd"}, {"idempotency_key": key})
    assert made.amount == 900


async def test_at_the_same_time_is_a_conflict(sandbox, raw, key):
    await sandbox.control("faults", kind="slow", seconds=2)
    headers = {"idempotency-key": key}

    async def create(delay):
        await asyncio.sleep(delay)
        return await raw.post("/v1/customers", data={"email": "race@example.com"}, headers=headers)

    first, second = await asyncio.gather(create(0), create(0.2))
    assert (first.status_code, second.status_code) == (200, 409)
    assert second.json()["error"]["code"] == "idempotency_key_in_use"
    assert second.headers["stripe-should-retry"] == "true"
    third = await create(0)
    assert third.json()["id"] == first.json()["id"]


async def test_fifty_at_once_make_one(sandbox, raw, key):
    data = {"email": f"{key}@example.com"}

    async def create():
        return await raw.post("/v1/customers", data=data, headers={"idempotency-key": key})

    answers = await asyncio.gather(*(create() for _ in range(50)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    listed = await raw.get("/v1/customers", params=data)
    assert len(listed.json()["data"]) == 1


async def test_a_key_is_forgotten_after_a_day(start, key):
    with start("tallystick.sandbox.stripe") as address:
        async with httpx.AsyncClient(verify=False, base_url=address, auth=("sk_test_x", "")) as raw:
            headers = {"idempotency-key": key}
            first = await raw.post("/v1/customers", headers=headers)
            await raw.post("/_sandbox/clock", json={"advance_s": 24 * 3600})
            second = await raw.post("/v1/customers", headers=headers)
            assert first.json()["id"] != second.json()["id"]


async def test_keys_have_a_length(raw):
    response = await raw.post("/v1/customers", headers={"idempotency-key": "k" * 256})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "idempotency_error"


async def test_reading_needs_no_key(raw, key):
    for limit in (1, 2):
        response = await raw.get("/v1/customers", params={"limit": limit}, headers={"idempotency-key": key})
        assert response.status_code == 200
