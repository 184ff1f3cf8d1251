"""Payouts: what is available leaves the balance, and each movement knows with which payout it went."""

import contextlib
from typing import Any

import httpx
import pytest
import stripe

_DAY_S = 24 * 3600


@pytest.fixture
def account(start):
    """A sandbox of its own: a payout takes everything that is there."""
    with (
        start("tallystick.sandbox.stripe") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)

        def control(path: str, **body: object) -> Any:
            answer = httpx.post(f"{address}/_sandbox/{path}", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield client, control


def pay(client, method="pm_card_visa", amount=2500):
    asked = {"amount": amount, "currency": "usd", "payment_method": method, "confirm": True}
    return client.v1.payment_intents.create(asked)


def nets(client, **wanted):
    return sorted(moved.net for moved in client.v1.balance_transactions.list(wanted).data)


def balance(client):
    found = client.v1.balance.retrieve()
    return found.available[0].amount, found.pending[0].amount


def test_money_waits_two_days_and_then_goes_out(account):
    client, control = account
    paid = pay(client)
    assert balance(client) == (0, 2397)
    assert control("payouts")["payouts"] == []
    control("clock", advance_s=2 * _DAY_S + 1)
    pay(client)
    assert balance(client) == (2397, 2397)
    charged = client.v1.balance_transactions.list({"source": paid.latest_charge}).data[0]
    assert charged.status == "available"
    (payout,) = control("payouts")["payouts"]
    assert (payout["amount"], payout["currency"], payout["status"]) == (2397, "usd", "paid")
    assert nets(client, payout=payout["id"]) == [-2397, 2397]
    assert nets(client, type="payout") == [-2397]
    assert balance(client) == (0, 2397)
    assert [row.id for row in client.v1.payouts.list({"status": "paid"}).data] == [payout["id"]]
    assert client.v1.payouts.retrieve(payout["id"]).balance_transaction is not None
    kinds = {"payout.created", "payout.paid", "payout.reconciliation_completed"}
    assert {event.type for event in client.v1.events.list({"type": "payout.*"}).data} == kinds


def test_a_payout_is_what_came_in_less_all_that_went_out(account):
    client, control = account
    pay(client, "pm_card_bypassPending", 10_000)
    refunded = pay(client, "pm_card_bypassPending")
    client.v1.refunds.create({"payment_intent": refunded.id})
    control(f"charges/{pay(client, 'pm_card_bypassPending').latest_charge}/dispute")
    control("fees", amount=500, description="Billing")
    came_in = 10_000 - 320 + 2 * (2500 - 103)
    (payout,) = control("payouts")["payouts"]
    assert payout["amount"] == came_in - 2500 - (2500 + 1500) - 500
    found = client.v1.balance_transactions.list({"payout": payout["id"], "expand": ["data.source"]}).data
    assert sorted(moved.type for moved in found) == [
        "adjustment",
        "charge",
        "charge",
        "charge",
        "payout",
        "refund",
        "stripe_fee",
    ]
    assert sum(moved.net for moved in found) == 0
    sources = {moved.type: moved.source for moved in found}
    assert (sources["adjustment"].object, sources["refund"].object, sources["stripe_fee"]) == (
        "dispute",
        "refund",
        None,
    )


def test_debts_wait_for_the_next_payout(account):
    client, control = account
    paid = pay(client)
    client.v1.refunds.create({"payment_intent": paid.id})
    assert control("payouts")["payouts"] == []
    assert balance(client) == (-2500, 2397)
    pay(client, "pm_card_bypassPending", 10_000)
    assert control("payouts")["payouts"][0]["amount"] == 9680 - 2500


def test_one_that_takes_days_and_is_sent_back(account):
    client, control = account
    pay(client, "pm_card_bypassPending")
    (payout,) = control("payouts", arrives_after_s=2 * _DAY_S)["payouts"]
    assert payout["status"] == "in_transit"
    control("clock", advance_s=2 * _DAY_S)
    assert client.v1.payouts.retrieve(payout["id"]).status == "paid"
    failed = control(f"payouts/{payout['id']}/fail")["payout"]
    assert (failed["status"], failed["failure_code"]) == ("failed", "account_closed")
    assert nets(client, source=payout["id"]) == [-2397, 2397]
    (again,) = control("payouts")["payouts"]
    assert again["amount"] == 2397


def test_nobody_s_payout_has_no_movements(account):
    client, _ = account
    with pytest.raises(stripe.InvalidRequestError, match="No such payout"):
        client.v1.balance_transactions.list({"payout": "po_nobody"})
