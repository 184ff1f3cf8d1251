"""Refunds, disputes and debts as an operator types them."""

import pytest

from tests.payments.refunds.till import open_till
from tests.stand_in import KEY, stripe_client, stripe_control


@pytest.fixture
async def till(dsn, pool, stripe_address):
    async with stripe_client(stripe_address) as stripe, stripe_control(stripe_address) as control:
        yield await open_till(dsn, pool, stripe, control)


@pytest.fixture
def run(tallystick, stripe_address):
    def call(*words, **more):
        return tallystick(*words, STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe_address, **more)

    return call


async def test_a_refund_from_the_order_to_the_list(till, run):
    paid = await till.buy()
    await till.spend(5 * 10**9)
    said = run("refunds", "create", paid.order, "--amount", "20.01", "--reason", "asked", "--by", "ada", code=1)
    assert "Only 20.00 USD of this order is unspent" in said
    made = run("refunds", "create", paid.order, "--reason", "asked", "--by", "ada", "--json")
    assert (made["state"], made["amount_minor"], made["asked_by"]) == ("succeeded", 2000, "operator:ada")
    assert run("refunds", "list", "--order", paid.order, "--json") == [made]
    assert run("refunds", "show", made["stripe_refund"], "--json") == made
    assert run("refunds", "list", "--organization", till.shop.buyer.organization).count("ref_") == 1
    run("verify")


async def test_a_dispute_is_answered_and_its_debt_written_off(till, run):
    paid, other = await till.buy(), await till.buy(1000)
    await till.spend(35 * 10**9)
    disputes = [await till.dispute(one) for one in (paid, other)]
    await till.receive(await till.events(paid, other))
    listed = run("disputes", "list", "--json")
    assert [(one["id"], one["status"]) for one in listed] == [(id_, "needs_response") for id_ in disputes[::-1]]
    answered = run("disputes", "submit-evidence", disputes[0], "losing_evidence", "--by", "ada", "--json")
    assert answered["status"] == "lost"
    assert "needs a response" in run("disputes", "submit-evidence", disputes[0], "again", code=1)
    assert run("disputes", "close", disputes[1], "--json")["status"] == "lost"
    assert "nothing left to give up" in run("disputes", "close", disputes[1], code=1)
    assert "holds nobody back" in run("disputes", "release", disputes[1], "--reason", "paid", code=1)
    debts = run("debts", "list", "--json")
    assert sorted(debt["open"] for debt in debts) == ["10.00", "25.00"]
    for debt in debts:
        assert "owes nothing of it now" in run("debts", "write-off", debt["operation"], "--reason", "gone")
    assert run("debts", "list", "--json") == []
    assert len(run("debts", "list", "--all", "--json")) == 2


def test_an_order_settled_by_hand_goes_back_by_hand(tallystick, run):
    org = tallystick("orgs", "create", "Acme", "--json")["id"]
    order = tallystick("orders", "create", org, "--amount", "100", "--by", "ada", "--json")["id"]
    tallystick("orders", "approve", order, "--proof", "statement 4", "--by", "bob")
    assert "proof must say how the money went back" in tallystick("refunds", "create", order, "--reason", "x", code=1)
    words = ("refunds", "create", order, "--reason", "asked", "--proof", "transfer 9", "--amount", "40", "--json")
    made = tallystick(*words)
    assert (made["state"], made["proof"]) == ("succeeded", "transfer 9")
    assert tallystick("credits", "balance", org, "--json")["balance"] == "60.00"
    assert tallystick("orders", "show", order, "--json")["refunded"] == "40.00"
    tallystick("verify")


def test_what_cannot_be_is_said_in_a_sentence(tallystick):
    assert "There is no order ord_x" in tallystick("refunds", "create", "ord_x", "--reason", "x", code=1)
    assert "There is no such refund" in tallystick("refunds", "show", "re_x", code=1)
    assert "There is no such dispute" in tallystick("disputes", "show", "du_x", code=1)
    assert "STRIPE_API_KEY" in tallystick("disputes", "close", "du_x", code=1)
    assert "debts list" in tallystick("debts", "write-off", "x", "--reason", "x", code=1)
