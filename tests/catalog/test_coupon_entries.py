import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tallystick.catalog.difference import describe
from tallystick.catalog.document import Coupon, decode, encode
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.file import parse

PACK = '[[pack]]\nslug = "standard"\nname = "Standard"\namount = 25\n'


def coupon(body, *, code="welcome-10"):
    [[wanted]] = parse(f'{PACK}[[coupon]]\ncode = "{code}"\n{body}')["coupon"].values()
    assert isinstance(wanted.document, Coupon)
    return wanted.document


def test_a_coupon_is_read_kept_and_told():
    made = coupon(
        """amount_off = 2.50
        starts = 2027-01-01T00:00:00+01:00
        ends = 2027-02-01T00:00:00Z
        redemptions_max = 100
        per_organization_max = "unlimited"
        packs = ["standard"]
        first_purchase = true"""
    )
    assert (made.code, made.amount_off_minor, made.per_organization_max) == ("WELCOME-10", 250, None)
    assert made.starts == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert decode("coupon", encode(made)) == made
    assert describe(made) == {
        "amount_off": "2.50",
        "starts": "2026-12-31T23:00:00Z",
        "ends": "2027-02-01T00:00:00Z",
        "redemptions_max": "100",
        "per_organization_max": "unlimited",
        "packs": "standard",
        "first_purchase": "true",
    }


def test_free_credits_may_expire():
    made = coupon("free_credits = 5\nfree_days = 30")
    assert (made.free, made.free_days, made.per_organization_max) == (5 * 10**9, 30, 1)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "needs exactly one of"),
        ("percent_off = 10\nbonus_credits = 1", "needs exactly one of"),
        ("percent_off = 0", "between 1 and 99"),
        ("percent_off = 100", "between 1 and 99"),
        ("amount_off = 0", "greater than zero"),
        ("amount_off = 0.001", "more than 2 decimals"),
        ("bonus_credits = -1", "greater than zero"),
        ("percent_off = 10\nfree_days = 3", "goes with free_credits"),
        ("free_credits = 1\nfree_days = 0", "free_days must be between"),
        ('free_credits = 1\npacks = ["standard"]', "free_credits needs none"),
        ("percent_off = 10\npacks = []", "at least one pack"),
        ('percent_off = 10\npacks = ["none"]', "there is no pack none"),
        ("percent_off = 10\nredemptions_max = 0", "redemptions_max must be between"),
        ("percent_off = 10\nper_organization_max = 0", "per_organization_max must be between"),
        ("percent_off = 10\nstarts = 2027-01-01T00:00:00", "needs an offset"),
        ("percent_off = 10\nstarts = 2027-01-01T00:00:00Z\nends = 2027-01-01T00:00:00Z", "after starts"),
    ],
)
def test_what_is_wrong_is_told(body, problem):
    with pytest.raises(CatalogError, match=problem):
        coupon(body)


@pytest.mark.parametrize("code", ["ab", "a b c", "x" * 41, "-abc", "äbc"])
def test_a_code_can_be_typed(code):
    with pytest.raises(CatalogError, match="code must be"):
        coupon("percent_off = 10", code=code)


def test_two_codes_that_differ_in_capitals_only_are_one():
    with pytest.raises(CatalogError, match="there twice"):
        parse('[[coupon]]\ncode = "abc"\npercent_off = 1\n[[coupon]]\ncode = "ABC"\npercent_off = 2\n')


def test_a_pack_never_gives_less_than_is_paid():
    with pytest.raises(CatalogError, match="must not be fewer"):
        parse(PACK + "credits = 24.99\n")
    assert parse(PACK + 'credits = 25\ndescription = "For teams."\npayment = "manual"\n')["pack"]


def test_the_packages_and_coupons_of_the_how_to_are_valid():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "orders.md").read_text()
    found = parse("\n".join(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)))
    assert (list(found["pack"]), list(found["coupon"])) == (["team", "dedicated"], ["LAUNCH-20", "WELCOME-5"])
