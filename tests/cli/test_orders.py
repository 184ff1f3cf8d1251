"""Orders that are settled by hand, and who is told of low balances, as an operator types them."""

import pytest

CATALOG = """
[[pack]]
slug = "dedicated"
name = "Dedicated"
amount = 5000
credits = 6000
payment = "manual"

[[coupon]]
code = "PARTNER"
percent_off = 10
"""


@pytest.fixture
def org(tallystick, tmp_path):
    (tmp_path / "catalog.toml").write_text(CATALOG)
    assert "+ coupon PARTNER: percent_off 10, per_organization_max 1" in tallystick("apply", "catalog.toml")
    return tallystick("orgs", "create", "Acme", "--json")["id"]


def test_from_an_order_to_its_credits(tallystick, org):
    made = tallystick(
        "orders", "create", org, "--pack", "dedicated", "--coupon", "partner", "--reference", "PO 4711", "--json"
    )
    assert (made["state"], made["amount"], made["credits"]) == ("awaiting_payment", "4500.00", "6000.00")
    waiting = tallystick("orders", "list", "--kind", "manual", "--state", "awaiting_payment", "--json")
    assert [order["id"] for order in waiting] == [made["id"]]
    assert "PO 4711" in tallystick("orders", "list", "--organization", org)
    said = tallystick("orders", "approve", made["id"], "--proof", "statement 12", "--by", "ada")
    assert said == f"{made['id']}: 6000.00 credits were credited, on the word of operator:ada.\n"
    assert tallystick("credits", "balance", org, "--json")["balance"] == "6000.00"
    again = tallystick("orders", "approve", made["id"], "--proof", "statement 12", "--by", "bob", code=1)
    assert "was approved by operator:ada" in again
    assert "statement 12" in tallystick("orders", "show", made["id"])
    tallystick("verify")


def test_with_four_eyes(tallystick, org):
    made = tallystick("orders", "create", org, "--amount", "25000", "--by", "ada", "--json")
    eyes = {"TALLYSTICK_FOUR_EYES": "true"}
    assert "another operator" in tallystick(
        "orders", "approve", made["id"], "--proof", "x", "--by", "ada", code=1, **eyes
    )
    assert (
        tallystick("orders", "approve", made["id"], "--proof", "x", "--by", "bob", "--json", **eyes)["state"]
        == "credited"
    )


def test_what_is_rejected_and_what_does_not_exist(tallystick, org):
    made = tallystick("orders", "create", org, "--amount", "10", "--json")
    assert "failed: rejected: a mistake" in tallystick(
        "orders", "reject", made["id"], "--reason", "a mistake", "--by", "ada"
    )
    assert "nobody has to" not in tallystick("orders", "credit", made["id"], "--reason", "x", code=1)
    assert "There is no order" in tallystick("orders", "approve", "ord_none", "--proof", "x", code=1)
    assert "state must be one of" in tallystick("orders", "list", "--state", "nonsense", code=1)


def test_who_is_told_of_low_balances(tallystick, org):
    assert tallystick("alerts", "set", org, "5", "20") == "Told below 20.00, 5.00 credits.\n"
    assert tallystick("alerts", "show", org, "--json") == {"thresholds": ["20.00", "5.00"]}
    assert tallystick("alerts", "set", org) == "Told at no balance.\n"
    assert tallystick("top-up", "show", org, "--json") == {"top_up": None}
    assert tallystick("top-up", "remove", org) == "Nothing was charged.\n"
