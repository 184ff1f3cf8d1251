"""Planned faults: what the official SDK's own retries make of them."""

import contextlib
import uuid

import httpx
import pytest
import stripe


@pytest.fixture
def patient(sandbox, monkeypatch):
    """The SDK with retries, but without its pauses."""
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)
    http_client = stripe.RequestsClient(timeout=1)
    yield sandbox.client(max_network_retries=3, http_client=http_client)
    http_client.close()


def made(client, email):
    return client.v1.customers.list({"email": email}).data


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "unavailable_503"])
async def test_a_lost_answer_is_asked_for_again_and_the_work_is_done_once(sandbox, patient, kind):
    email = f"{kind}@example.com"
    await sandbox.control("faults", kind=kind, times=2, method="POST", path="/v1/customers")
    customer = patient.v1.customers.create({"email": email})
    assert [row.id for row in made(patient, email)] == [customer.id]


async def test_silence_is_asked_again_too(sandbox, patient):
    await sandbox.control("faults", kind="timeout", seconds=1.5, path="/v1/customers")
    customer = patient.v1.customers.create({"email": "silence@example.com"})
    assert [row.id for row in made(patient, "silence@example.com")] == [customer.id]


async def test_a_reset_before_the_work_is_a_connection_error_and_does_nothing(sandbox, shop):
    await sandbox.control("faults", kind="reset_before", path="/v1/customers")
    with pytest.raises(stripe.APIConnectionError):
        shop.v1.customers.create({"email": "before@example.com"})
    assert made(shop, "before@example.com") == []


async def test_a_reset_after_the_work_is_a_connection_error_and_the_work_is_done(sandbox, shop):
    await sandbox.control("faults", kind="reset_after", path="/v1/customers")
    with pytest.raises(stripe.APIConnectionError):
        shop.v1.customers.create({"email": "after@example.com"})
    assert len(made(shop, "after@example.com")) == 1


async def test_a_500_is_kept_with_its_key_as_stripe_does(sandbox, shop):
    await sandbox.control("faults", kind="error_500", path="/v1/customers")
    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            shop.v1.customers.create({"email": "500@example.com"}, {"idempotency_key": "kept-500"})
        assert failed.value.http_status == 500
        assert failed.value.headers["stripe-should-retry"] == "false"
    assert shop.v1.customers.create({"email": "500@example.com"}, {"idempotency_key": "another-500"}).id


async def test_too_many_requests(sandbox, shop):
    await sandbox.control("faults", kind="rate_limited_429")
    with pytest.raises(stripe.RateLimitError):
        shop.v1.balance.retrieve()


async def test_a_fault_waits_for_its_path_and_can_be_taken_back(sandbox, shop):
    await sandbox.control("faults", kind="unavailable_503", method="POST", path="/v1/refunds")
    shop.v1.customers.create({})
    mended = httpx.delete(f"{sandbox.address}/_sandbox/faults").json()
    assert (mended["planned"], mended["everything"]) == ([], None)
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.refunds.create({"charge": "ch_nobody"})


def faults(sandbox):
    return httpx.get(f"{sandbox.address}/_sandbox/faults").json()["everything"]["failed"]


async def test_each_endpoint_fails_once_in_the_next_kind_and_then_works(sandbox, shop):
    before = shop.v1.customers.create({}).id
    await sandbox.control("faults/everything", kinds=["unavailable_503", "rate_limited_429", "reset_after"])
    for again in (before, before, shop.v1.customers):
        with contextlib.suppress(stripe.StripeError):
            shop.v1.customers.retrieve(again if isinstance(again, str) else again.create({}).id)
    assert faults(sandbox) == {
        "GET /v1/customers/{id}": "unavailable_503",
        "POST /v1/customers": "rate_limited_429",
    }
    with pytest.raises(stripe.APIConnectionError):
        shop.v1.balance.retrieve()
    assert shop.v1.balance.retrieve().object == "balance"
    assert shop.v1.customers.retrieve(shop.v1.customers.create({}).id).object == "customer"


async def test_every_call_fails_once_before_it_works(sandbox, shop):
    kinds = ["bad_gateway_502", "unavailable_503", "rate_limited_429", "reset_before", "reset_after"]
    await sandbox.control("faults/everything", scope="call", kinds=kinds)
    keys = [str(uuid.uuid4()) for _ in kinds]
    for key in keys:
        asked = {"email": f"{key}@example.com"}, {"idempotency_key": key}
        with pytest.raises(stripe.StripeError):
            shop.v1.customers.create(*asked)
        assert shop.v1.customers.create(*asked).email == f"{key}@example.com"
    assert list(faults(sandbox).values()) == kinds
    with pytest.raises(stripe.StripeError):
        shop.v1.customers.list({"email": f"{keys[-1]}@example.com"})
    # The one whose answer was lost had been made, and its key made it once.
    assert len(shop.v1.customers.list({"email": f"{keys[-1]}@example.com"}).data) == 1


async def test_with_its_retries_the_sdk_does_not_notice(sandbox, patient):
    planned = await sandbox.control("faults/everything", scope="call", seconds=0.1)
    for _ in range(2):
        customer = patient.v1.customers.create({})
        method = patient.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
        asked = {"amount": 900, "currency": "usd", "customer": customer.id, "payment_method": method.id}
        patient.v1.payment_intents.create({**asked, "confirm": True, "off_session": True})
        assert len(patient.v1.charges.list({"customer": customer.id}).data) == 1
    assert set(faults(sandbox).values()) == set(planned["everything"]["kinds"])


@pytest.mark.parametrize("wrong", [{"kinds": ["flood"]}, {"scope": "planet"}])
def test_a_fault_of_everything_that_makes_no_sense_is_refused(sandbox, wrong):
    assert httpx.post(f"{sandbox.address}/_sandbox/faults/everything", json=wrong).status_code == 400
