"""The process itself: its options, its one line, its memory."""

import contextlib
import socket
import subprocess
import sys
import time

import httpx
import pytest
import stripe

from tallystick.sandbox.stripe.identifier import Identifiers

MODULE = "tallystick.sandbox.stripe"


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def client_of(address):
    with contextlib.closing(stripe.RequestsClient()) as http_client:
        yield stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)


def test_a_state_file_survives_a_restart(start, checkout, tmp_path, closed_port):
    webhook = ("--webhook-url", f"http://127.0.0.1:{closed_port}/", "--webhook-secret", "whsec_x")
    arguments = ("--state", str(tmp_path / "state.json"), *webhook)
    options = {"idempotency_key": "survives"}
    with start(MODULE, *arguments) as address, client_of(address) as client:
        session = client.v1.checkout.sessions.create(checkout, options)
        httpx.post(f"{address}/_sandbox/checkout/{session.id}/pay", json={})
    with start(MODULE, *arguments) as address, client_of(address) as client:
        again = client.v1.checkout.sessions.create(checkout, options)
        assert again.id == session.id
        assert again.last_response.headers["idempotent-replayed"] == "true"
        assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
        assert len(client.v1.webhook_endpoints.list().data) == 1
        # Nobody listened: what was under way then is under way now.
        deliveries = httpx.get(f"{address}/_sandbox/webhooks/deliveries?type=payment_intent.succeeded").json()
        assert [one["state"] for one in deliveries["deliveries"]] == ["pending"]


def test_a_seed_makes_the_same_ids_every_time(start):
    with start(MODULE, "--seed", "7") as address, client_of(address) as client:
        request = Identifiers(7).new("req_")
        assert client.v1.customers.create({}).last_response.request_id == request
    assert Identifiers(7).new("cus_") != Identifiers(8).new("cus_") != Identifiers().new("cus_")


def test_its_clock_may_start_long_ago_and_be_moved_on_to_now(start):
    with start(MODULE, "--behind-s", "86400") as address, client_of(address) as client:
        assert time.time() - client.v1.customers.create({}).created == pytest.approx(86_400, abs=60)
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 86_400})
        assert client.v1.customers.create({}).created == pytest.approx(time.time(), abs=60)


def test_half_a_webhook_is_refused():
    command = [sys.executable, "-m", MODULE, "--webhook-url", "http://127.0.0.1:9/"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert "belong together" in run.stderr


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"advance_s": "soon"}),
        ("faults", {"kind": "flood"}),
        ("webhooks/rules", {"colour": "red"}),
        ("webhooks/wait", {"timeout_s": "long"}),
        ("checkout/cs_test_nobody/pay", {}),
        ("events/evt_nobody/resend", {}),
    ],
)
def test_a_control_that_makes_no_sense_is_refused(sandbox, path, body):
    answer = httpx.post(f"{sandbox.address}/_sandbox/{path}", json=body)
    assert answer.status_code in {400, 404}
    assert answer.json()["error"]["message"]


def test_a_state_file_keeps_what_is_still_to_come(start, tmp_path):
    arguments = ("--state", str(tmp_path / "state.json"), "--debit-delay-s", "600")
    asked = {"amount": 2500, "currency": "usd", "confirm": True}
    with start(MODULE, *arguments) as address, client_of(address) as client:
        fails = client.v1.payment_intents.create({**asked, "payment_method": "pm_card_refundFail"})
        refund = client.v1.refunds.create({"payment_intent": fails.id})
        disputed = client.v1.payment_intents.create({**asked, "payment_method": "pm_card_createDispute"})
        customer = client.v1.customers.create({"payment_method": "pm_card_visa"})
        named = {"display_name": "T", "event_name": "tokens", "default_aggregation": {"formula": "sum"}}
        meter = client.v1.billing.meters.create(named)
        payload = {"stripe_customer_id": customer.id, "value": "7"}
        client.v1.billing.meter_events.create({"event_name": "tokens", "payload": payload, "identifier": "once"})
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 300})
    with start(MODULE, *arguments) as address, client_of(address) as client:
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 301})
        assert client.v1.refunds.retrieve(refund.id).status == "failed"
        (dispute,) = client.v1.disputes.list({"payment_intent": disputed.id}).data
        httpx.post(f"{address}/_sandbox/disputes/{dispute.id}/win")
        assert len(client.v1.disputes.retrieve(dispute.id).balance_transactions) == 2
        assert len(client.v1.payment_methods.list({"customer": customer.id}).data) == 1
        with pytest.raises(stripe.InvalidRequestError, match="already exists"):
            client.v1.billing.meter_events.create({"event_name": "tokens", "payload": payload, "identifier": "once"})
        hour = customer.created // 3600 * 3600
        span = {"customer": customer.id, "start_time": hour, "end_time": hour + 7200}
        (summary,) = client.v1.billing.meters.event_summaries.list(meter.id, span).data
        assert summary.aggregated_value == 7
