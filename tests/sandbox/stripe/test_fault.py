"""Planned faults: what the official SDK's own retries make of them."""

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
    assert httpx.delete(f"{sandbox.address}/_sandbox/faults").json() == {"planned": []}
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.refunds.create({"charge": "ch_nobody"})
