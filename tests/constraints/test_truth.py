"""The truth table of each strategy: what is used, what credits are there, and who then pays or refuses one request.

One row is one state. A request uses one unit of everything the table's plan meters, and models for `MODELS`. The last
columns say which layer admits it, or `no:` and which refuses it, and what it is charged, in nanocredits.
"""

from datetime import UTC, datetime, timedelta

import pytest
from plan_file import CREDIT, NOW, constraints, example_plan, read_plan

from tallystick.constraints.constraints import Constraints
from tallystick.constraints.verdict import Balance, Claims, Counters, Request, Verdict, claims, decide, price_between

PERIOD_ENDS = datetime(2026, 3, 31, 8, tzinfo=UTC)
MODELS = 3_000_000
"""What the price book charges for the models of one request."""
NO = "no:"

# Customers pay a fixed monthly fee for access. Enforce feature access and any hard cap.
FLAT = 'strategy = "flat"\nmeters = [{ meter = "requests", cap = 1_000 }]'
FLAT_ROWS = [
    # used, promotional, purchased -> layer, charge
    (0, 0, 0, "included", 0),
    (999, 0, 0, "included", 0),
    (999, 0, -50 * CREDIT, "included", 0),
    (999, CREDIT, CREDIT, "included", 0),
    (1_000, 0, 0, "no:included", 0),
    (1_000, CREDIT, CREDIT, "no:included", 0),
    (1_001, CREDIT, CREDIT, "no:included", 0),
]

# A monthly fee includes a quota. Track usage and deny traffic after the included amount.
# Starter: $29 / month, includes 10,000 requests.
INCLUDED_ROWS = [
    (0, 0, 0, "included", 0),
    (9_999, 0, 0, "included", 0),
    (9_999, 0, -50 * CREDIT, "included", 0),
    (10_000, 0, 0, "no:included", 0),
    (10_000, CREDIT, 0, "no:included", 0),
    (10_000, 0, CREDIT, "no:included", 0),
    (20_000, CREDIT, CREDIT, "no:included", 0),
]

# Customers commit monthly but can exceed quota. Track included usage and allow billable overage.
# Pro: $99 / month, includes 100,000 requests. Overage: $0.50 per 1,000 extra requests; here 100 credits may be owed.
ONE_MORE = 500_000
OVERAGE_ROWS = [
    (0, 0, 0, "included", 0),
    (99_999, 0, 0, "included", 0),
    (99_999, CREDIT, CREDIT, "included", 0),
    (99_999, 0, -100 * CREDIT, "included", 0),
    (100_000, CREDIT, 0, "promotional", ONE_MORE),
    (100_000, CREDIT, CREDIT, "promotional", ONE_MORE),
    (100_000, ONE_MORE, 0, "promotional", ONE_MORE),
    (100_000, ONE_MORE - 1, 1, "purchased", ONE_MORE),
    (100_000, 0, CREDIT, "purchased", ONE_MORE),
    (100_000, 0, ONE_MORE, "purchased", ONE_MORE),
    (100_000, 0, ONE_MORE - 1, "overage", ONE_MORE),
    (100_000, ONE_MORE - 1, 0, "overage", ONE_MORE),
    (100_000, 0, 0, "overage", ONE_MORE),
    (5_000_000, 0, 0, "overage", ONE_MORE),
    (100_000, 0, ONE_MORE - 100 * CREDIT, "overage", ONE_MORE),
    (100_000, 0, ONE_MORE - 1 - 100 * CREDIT, "no:overage", 0),
    (100_000, 0, -100 * CREDIT, "no:overage", 0),
]
CAPPED = """strategy = "overage"
credit_limit = 100
meters = [{ meter = "requests", allowance = 100_000, cap = 200_000, overage = { price = 0.50, per = 1_000 } }]"""
CAPPED_ROWS = [
    (99_999, 0, 0, "included", 0),
    (100_000, 0, 0, "overage", ONE_MORE),
    (199_999, 0, 0, "overage", ONE_MORE),
    (199_999, 0, CREDIT, "purchased", ONE_MORE),
    (199_999, 0, -100 * CREDIT, "no:overage", 0),
    (200_000, 0, 0, "no:overage", 0),
    (200_000, CREDIT, CREDIT, "no:overage", 0),
]

# Customers pay directly for metered usage. Track all usage as billable usage.
PAYG = """strategy = "payg"
credit_limit = 1
meters = [{ meter = "document_page", cap = 500, overage = { price = 0.01 } }]"""
PAGE = 10_000_000
PAYG_ROWS = [
    (0, 0, 0, "overage", PAGE + MODELS),
    (499, 0, 0, "overage", PAGE + MODELS),
    (0, CREDIT, 0, "promotional", PAGE + MODELS),
    (0, PAGE, MODELS, "purchased", PAGE + MODELS),
    (0, 0, CREDIT, "purchased", PAGE + MODELS),
    (0, 0, PAGE, "overage", PAGE + MODELS),
    (0, 0, PAGE + MODELS - CREDIT, "overage", PAGE + MODELS),
    (0, 0, PAGE + MODELS - 1 - CREDIT, "no:overage", 0),
    (0, 0, -CREDIT, "no:overage", 0),
    (500, 0, 0, "no:overage", 0),
    (500, CREDIT, CREDIT, "no:overage", 0),
]
PAYG_OF_MODELS = 'strategy = "payg"\ncredit_limit = 1'
PAYG_OF_MODELS_ROWS = [
    (0, 0, 0, "overage", MODELS),
    (10**12, 0, CREDIT, "purchased", MODELS),
    (0, 0, -CREDIT, "no:overage", 0),
]

# Customers must fund usage before requests run. Reserve or spend credits before forwarding.
PREPAID = 'strategy = "prepaid"'
PREPAID_ROWS = [
    (0, 0, 0, "no:credits", 0),
    (0, 0, MODELS - 1, "no:credits", 0),
    (0, MODELS - 1, 0, "no:credits", 0),
    (0, 0, -1, "no:credits", 0),
    (0, 0, MODELS, "purchased", MODELS),
    (0, MODELS, 0, "promotional", MODELS),
    (0, MODELS - 1, 1, "purchased", MODELS),
    (10**12, 0, CREDIT, "purchased", MODELS),
]
PREPAID_PAGES = """strategy = "prepaid"
meters = [{ meter = "document_page", cap = 500, overage = { price = 0.01 } }]"""
PREPAID_PAGES_ROWS = [
    (0, 0, 0, "no:credits", 0),
    (0, 0, PAGE + MODELS - 1, "no:credits", 0),
    (0, 0, PAGE + MODELS, "purchased", PAGE + MODELS),
    (499, PAGE + MODELS, 0, "promotional", PAGE + MODELS),
    (500, CREDIT, CREDIT, "no:overage", 0),
]

# Your product has its own units or mixed rules. Enforce the compiled constraints for your meters.
CUSTOM = """strategy = "custom"
charges_models = false
credit_limit = 1
meters = [
    { meter = "image_generation", allowance = 2, overage = { price = 0.08 } },
    { meter = "document_page", allowance = 5, cap = 7, overage = { price = 0.01 } },
    { meter = "output_tokens", allowance = 9 },
    { meter = "dollars", cap = 0.012 },
]"""
IMAGE = 80_000_000
CUSTOM_ROWS = [
    # images, pages, output tokens and requests' worth of dollars used, promotional, purchased -> layer, charge
    (0, 0, 0, 0, 0, 0, "included", 0),
    (1, 4, 8, 3, 0, -CREDIT, "included", 0),
    (2, 0, 0, 0, 0, 0, "overage", IMAGE),
    (2, 0, 0, 0, 0, IMAGE, "purchased", IMAGE),
    (2, 0, 0, 0, IMAGE, 0, "promotional", IMAGE),
    (2, 0, 0, 0, 0, -CREDIT, "no:overage", 0),
    (0, 5, 0, 0, 0, 0, "overage", PAGE),
    (2, 5, 0, 0, 0, 0, "overage", IMAGE + PAGE),
    (2, 5, 0, 0, 0, IMAGE + PAGE - CREDIT, "overage", IMAGE + PAGE),
    (2, 5, 0, 0, 0, IMAGE + PAGE - CREDIT - 1, "no:overage", 0),
    (0, 7, 0, 0, CREDIT, CREDIT, "no:overage", 0),
    (0, 0, 9, 0, CREDIT, CREDIT, "no:included", 0),
    (0, 0, 0, 4, CREDIT, CREDIT, "no:included", 0),
]

# $20 of models included, then credits.
DOLLARS = """strategy = "custom"
charges_models = false
meters = [{ meter = "dollars", allowance = 20, overage = { price = 1 } }]"""
DOLLARS_ROWS = [
    # nanocredits of models used, promotional, purchased -> layer, charge
    (0, 0, 0, "included", 0),
    (20 * CREDIT - MODELS, 0, 0, "included", 0),
    (20 * CREDIT - MODELS + 1, 0, 0, "no:credits", 0),
    (20 * CREDIT - MODELS + 1, 0, 1, "purchased", 1),
    (20 * CREDIT, 0, MODELS - 1, "no:credits", 0),
    (20 * CREDIT, 0, MODELS, "purchased", MODELS),
    (90 * CREDIT, MODELS, 0, "promotional", MODELS),
]


def one(meter: str, table: list[tuple]) -> list[tuple]:
    """Rows of one meter as rows of any."""
    return [({meter: used}, *rest) for used, *rest in table]


TABLES = {
    "flat": (read_plan(FLAT), one("requests", FLAT_ROWS)),
    "included": (example_plan("starter"), one("requests", INCLUDED_ROWS)),
    "overage": (example_plan("pro"), one("requests", OVERAGE_ROWS)),
    "overage-capped": (read_plan(CAPPED), one("requests", CAPPED_ROWS)),
    "payg": (read_plan(PAYG), one("document_page", PAYG_ROWS)),
    "payg-models": (read_plan(PAYG_OF_MODELS), one("requests", PAYG_OF_MODELS_ROWS)),
    "prepaid": (read_plan(PREPAID), one("requests", PREPAID_ROWS)),
    "prepaid-pages": (read_plan(PREPAID_PAGES), one("document_page", PREPAID_PAGES_ROWS)),
    "custom": (
        read_plan(CUSTOM),
        [
            ({"image_generation": i, "document_page": p, "output_tokens": t, "dollars": d * MODELS}, *rest)
            for i, p, t, d, *rest in CUSTOM_ROWS
        ],
    ),
    "custom-dollars": (read_plan(DOLLARS), one("dollars", DOLLARS_ROWS)),
}
ROWS = [
    pytest.param(plan, *row, id=f"{name}-{n}") for name, (plan, rows) in TABLES.items() for n, row in enumerate(rows)
]
STATES = {
    "trialing": (None, True),
    "active": (None, True),
    "past_due": (NOW - timedelta(days=7) + timedelta(seconds=1), True),
    "past_due for its grace": (NOW - timedelta(days=7), False),
    "paused": (None, False),
}


def request(plan) -> Request:
    units = {meter.meter: 1 for meter in plan.meters if meter.meter != "dollars"}
    return Request(amount=MODELS, units={"requests": 1} | units)


def charge(rules: Constraints, used: dict, asked: Request) -> int:
    """What it costs in the end, where it uses all it asked for."""
    wanted = claims(rules, asked, NOW)
    assert isinstance(wanted, Claims)
    return wanted.amount + sum(
        price_between(claim.constraint, (before := used.get(claim.constraint.meter, 0)), before + claim.units)
        for claim in wanted.meters
    )


@pytest.mark.parametrize(("plan", "used", "promotional", "purchased", "layer", "charged"), ROWS)
def test_who_pays_or_refuses(plan, used, promotional, purchased, layer, charged) -> None:
    rules = constraints(plan)
    balance = Balance(promotional=promotional, purchased=purchased)
    verdict = decide(rules, Counters(meters=used), balance, request(plan), NOW)
    assert verdict.layer == layer.removeprefix(NO)
    assert verdict.admitted == (not layer.startswith(NO))
    if verdict.admitted:
        assert charge(rules, used, request(plan)) == charged
        assert verdict.amount == charged
        assert verdict.retry_at is None
    else:
        assert verdict.amount == charged == 0
        assert (verdict.retry_at == PERIOD_ENDS) == (verdict.name in {claim.meter for claim in rules.meters})


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", TABLES)
def test_the_status_decides_access_whatever_else_is_there(name: str, state: str) -> None:
    plan, _rows = TABLES[name]
    since, has_access = STATES[state]
    rules = constraints(plan, status=state.split(maxsplit=1)[0], past_due_since=since)
    verdict = decide(rules, Counters(), Balance(purchased=10 * CREDIT), request(plan), NOW)
    assert verdict.admitted == has_access
    if not has_access:
        assert verdict == Verdict(admitted=False, layer="access", name="status", message=rules.access_reason)
        assert rules.access_reason is not None


def test_every_strategy_has_its_table() -> None:
    assert {plan.strategy for plan, _rows in TABLES.values()} == {
        "flat",
        "included",
        "overage",
        "payg",
        "prepaid",
        "custom",
    }


def test_extra_requests_are_fifty_cents_per_thousand() -> None:
    """Pro's 1,000 extra requests, one by one and in three unequal parts."""
    (meter,) = constraints(example_plan("pro")).meters
    one_by_one = sum(price_between(meter, used, used + 1) for used in range(99_000, 101_000))
    assert one_by_one == CREDIT // 2
    assert (
        sum(price_between(meter, a, b) for a, b in ((0, 100_001), (100_001, 100_998), (100_998, 101_000)))
        == CREDIT // 2
    )
