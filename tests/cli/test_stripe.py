"""Plans at Stripe as an operator brings them there."""

from uuid import uuid4

import pytest

CATALOG = """
[[plan]]
slug = "{slug}"
name = "Growth"
strategy = "flat"
price = {price}
"""


@pytest.fixture
def at_stripe(tallystick, stripe_address):
    def run(*words, **options):
        environment = {"STRIPE_API_KEY": "sk_test_of_the_tests", "STRIPE_API_BASE": stripe_address}
        return tallystick("stripe", *words, **{**environment, **options})

    return run


def test_from_a_catalog_to_prices_and_back_to_a_quiet_catalog(tallystick, at_stripe, tmp_path):
    slug = f"cli-{uuid4().hex[:8]}"
    (tmp_path / "catalog.toml").write_text(CATALOG.format(slug=slug, price=99))
    tallystick("apply", "catalog.toml")
    shown = at_stripe("sync", "--dry-run")
    assert f"+ price tallystick_{slug}_" in shown
    assert "nothing was done" in shown
    made = at_stripe("sync", "--json")
    assert [(one["what"], one["kind"]) for one in made] == [("make", "product"), ("make", "price")]
    assert "Stripe has all that the catalog sells." in at_stripe("sync")

    (row,) = at_stripe("status", "--json")["prices"]
    assert (row["plan"], row["id"], row["active"]) == (slug, made[1]["id"], True)
    assert slug in at_stripe("status", COLUMNS="200").replace("\n", "")

    (tmp_path / "catalog.toml").write_text(CATALOG.format(slug=slug, price=109))
    tallystick("apply", "catalog.toml")
    assert f"- price {slug}" in at_stripe("sync")
    assert [row["active"] for row in at_stripe("status", "--json")["prices"]] == [False, True]


def test_what_is_wrong_is_said_and_the_exit_tells(tallystick, at_stripe, tmp_path):
    assert "set STRIPE_API_KEY" in tallystick("stripe", "sync", code=1)
    org = tallystick("orgs", "create", "Acme", "--json")["id"]
    assert "still being created" in at_stripe("refresh", org, code=1)
    (tmp_path / "catalog.toml").write_text(CATALOG.format(slug="wrong", price=99) + 'stripe_price = "price_of_nobody"')
    tallystick("apply", "catalog.toml")
    problems = [one for one in at_stripe("sync", "--json", code=None) if one["what"] == "problem"]
    assert [one["id"] for one in problems] == ["price_of_nobody"]
    at_stripe("sync", code=1)
