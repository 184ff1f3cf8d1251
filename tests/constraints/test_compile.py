"""The compiled document: what each source says, and who has the last word."""

from datetime import timedelta

import msgspec
import pytest
from plan_file import ADS, CREDIT, EXAMPLE, NOW, START, constraints, example_plan, read_plan, subscriber

from tallystick.catalog.file import parse
from tallystick.catalog.plan import Feature, PlanMeter, PlanRates
from tallystick.constraints.compile import compile_constraints
from tallystick.constraints.constraints import Constraints, MeterConstraint, PeriodRule
from tallystick.constraints.subscriber import Overrides, without_subscription

PLAN = read_plan(
    """strategy = "payg"
tier = "pro"
interval = "year"
credit_limit = 20
overdraft = 1
default_max_tokens = 512
features = ["sso"]
auth_modes = ["credits", "byok"]
rates = { requests_per_minute = 60 }
meters = [{ meter = "requests", overage = { price = 0.50, per = 1_000 } }, { meter = "agent_sessions", cap = 5 }]"""
)


def test_every_field_of_the_document() -> None:
    assert constraints(PLAN) == Constraints(
        organization="org_1",
        account=42,
        version=3,
        plan="p",
        plan_version=7,
        strategy="payg",
        status="active",
        access=True,
        access_until=None,
        access_reason=None,
        auth_modes=("credits", "byok"),
        charges_models=True,
        meters=(
            MeterConstraint(meter="requests", allowance=0, cap=None, price=500_000, per=1),
            MeterConstraint(meter="agent_sessions", allowance=5, cap=5, price=0, per=1),
        ),
        period=PeriodRule(anchor=START, interval="year"),
        tier="pro",
        quotas={"ads": 100},
        features=("sso",),
        rates=PlanRates(requests_per_minute=60),
        routes=None,
        credit_limit=20 * CREDIT,
        overdraft=CREDIT,
        default_max_tokens=512,
    )


def test_the_document_survives_being_stored() -> None:
    for slug in parse(EXAMPLE)["plan"]:
        document = constraints(example_plan(slug), status="past_due", past_due_since=NOW)
        assert msgspec.json.decode(msgspec.json.encode(document), type=Constraints) == document


def test_a_document_without_an_end_of_access_has_none() -> None:
    stored = msgspec.to_builtins(constraints(PLAN))
    del stored["access_until"]
    assert msgspec.convert(stored, Constraints) == constraints(PLAN)


@pytest.mark.parametrize(
    ("slug", "charges_models", "credit_limit", "meters"),
    [
        ("prepaid", True, 0, []),
        ("starter", False, 0, [("requests", 10_000, 10_000, 0, 1)]),
        ("pro", False, 100 * CREDIT, [("requests", 100_000, None, 500_000, 1)]),
        ("enterprise", False, 0, [("requests", 50_000_000, 50_000_000, 0, 1)]),
        (
            "payg",
            True,
            200 * CREDIT,
            [("document_page", 0, None, 10_000_000, 1), ("dollars", 2000 * CREDIT, 2000 * CREDIT, 0, 1)],
        ),
        (
            "studio",
            False,
            50 * CREDIT,
            [
                ("image_generation", 500, None, 80_000_000, 1),
                ("document_page", 2000, 20_000, 10_000_000, 1),
                ("video_second", 3600, 3600, 0, 1),
                ("input_tokens", 20_000_000, None, 400, 1),
                ("output_tokens", 5_000_000, None, 1600, 1),
                ("dollars", 250 * CREDIT, 250 * CREDIT, 0, 1),
            ],
        ),
    ],
)
def test_the_shipped_plans(slug: str, charges_models: bool, credit_limit: int, meters: list) -> None:
    document = constraints(example_plan(slug))
    assert (document.charges_models, document.credit_limit) == (charges_models, credit_limit)
    assert [(m.meter, m.allowance, m.cap, m.price, m.per) for m in document.meters] == meters


def test_a_price_is_kept_in_lowest_terms() -> None:
    plan = read_plan(
        """strategy = "payg"
charges_models = false
credit_limit = 1
meters = [
    { meter = "dollars", cap = 9, overage = { price = 1.1 } },
    { meter = "requests", overage = { price = 1, per = 3 } },
]"""
    )
    assert [(m.price, m.per) for m in constraints(plan).meters] == [(11, 10), (CREDIT, 3)]


def test_a_strategy_takes_nothing_that_its_file_would_refuse() -> None:
    """A stored plan is only ever read, but were it wrong, it would give away nothing."""
    loose = PlanMeter(meter="requests", price=5)
    for strategy, allowance, cap in (("included", 0, 0), ("overage", 0, None)):
        plan = msgspec.structs.replace(PLAN, strategy=strategy, meters=(loose,), charges_models=True)
        (meter,) = constraints(plan).meters
        assert (meter.allowance, meter.cap) == (allowance, cap)
        assert not constraints(plan).charges_models
    unsold = PlanMeter(meter="requests", allowance=10)
    for strategy in ("included", "overage", "custom"):
        (meter,) = constraints(msgspec.structs.replace(PLAN, strategy=strategy, meters=(unsold,))).meters
        assert (meter.allowance, meter.cap, meter.price) == (10, 10, 0)


@pytest.mark.parametrize(("tier", "limit"), [("free", 10), ("pro", 100), ("enterprise", None), ("team", 0)])
def test_the_tier_limits_features(tier: str, limit: int | None) -> None:
    assert constraints(msgspec.structs.replace(PLAN, tier=tier)).quotas == {"ads": limit}


def test_a_quota_of_the_organization_is_before_the_plans_and_that_before_the_tiers() -> None:
    every = [msgspec.structs.replace(ADS, name=name) for name in ("a", "b", "c", "d")]
    plan = msgspec.structs.replace(PLAN, quotas={"b": 1, "c": 2, "d": 3, "gone": 4})
    overrides = Overrides(quotas={"c": None, "d": 0, "never": 5})
    assert constraints(plan, features=every, overrides=overrides).quotas == {"a": 100, "b": 1, "c": None, "d": 0}


def test_what_was_agreed_with_an_organization_is_before_its_plan() -> None:
    overrides = Overrides(rates=PlanRates(concurrency=3), credit_limit=0)
    document = constraints(PLAN, overrides=overrides)
    assert document.rates == PlanRates(concurrency=3)
    assert document.credit_limit == 0
    assert constraints(example_plan("prepaid"), overrides=Overrides(credit_limit=CREDIT)).credit_limit == CREDIT


@pytest.mark.parametrize("modes", [("credits", "byok"), ("credits", "byok", "metered")])
def test_metered_is_for_the_organizations_that_the_operator_named(modes: tuple) -> None:
    plan = msgspec.structs.replace(PLAN, auth_modes=modes)
    assert constraints(plan).auth_modes == ("credits", "byok")
    assert constraints(plan, overrides=Overrides(metered_enabled=True)).auth_modes == ("credits", "byok", "metered")


def test_who_is_past_due_has_access_until_the_grace_ends() -> None:
    ends_at = NOW + timedelta(days=7)
    during = constraints(PLAN, NOW, status="past_due", past_due_since=NOW)
    assert (during.access, during.access_until) == (True, ends_at)
    last = constraints(PLAN, ends_at - timedelta(microseconds=1), status="past_due", past_due_since=NOW)
    assert last == during
    after = constraints(PLAN, ends_at, status="past_due", past_due_since=NOW)
    assert (after.access, after.access_until) == (False, None)
    assert after.access_reason == during.access_reason
    assert after.access_reason == "The payment for P is due since 2026-03-10. Pay it to send requests."
    at_once = constraints(msgspec.structs.replace(PLAN, grace_days=0), NOW, status="past_due", past_due_since=NOW)
    assert not at_once.access


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("trialing", None),
        ("active", None),
        ("paused", "Your subscription to P is paused. Resume it to send requests."),
    ],
)
def test_a_status_without_access_says_what_to_do(status: str, reason: str | None) -> None:
    document = constraints(PLAN, status=status)
    assert (document.access, document.access_reason) == (reason is None, reason)


@pytest.mark.parametrize(("status", "since"), [("past_due", None), ("active", NOW)])
def test_only_who_is_past_due_is_so_since_some_moment(status: str, since) -> None:
    with pytest.raises(ValueError, match="past_due_since"):
        subscriber(PLAN, status, since)


def test_without_a_subscription_there_is_the_default_plan() -> None:
    known = without_subscription(START, example_plan("prepaid"), 9)
    document = compile_constraints("org_1", 42, known, [ADS], version=1, now=NOW)
    assert (document.plan, document.plan_version, document.status) == ("prepaid", 9, "none")
    assert document.access
    assert document.period == PeriodRule(anchor=START, interval="month")
    assert document.rates.requests_per_minute == 60


def test_without_a_default_plan_there_is_the_built_in_one() -> None:
    known = without_subscription(START, None, None, Overrides(metered_enabled=True))
    assert compile_constraints("org_1", 42, known, [ADS], version=1, now=NOW) == Constraints(
        organization="org_1",
        account=42,
        version=1,
        plan=None,
        plan_version=None,
        strategy="prepaid",
        status="none",
        access=True,
        access_reason=None,
        auth_modes=("credits", "metered"),
        charges_models=True,
        meters=(),
        period=PeriodRule(anchor=START, interval="month"),
        tier="free",
        quotas={"ads": 10},
        features=(),
        rates=PlanRates(),
        routes=None,
        credit_limit=0,
        overdraft=0,
        default_max_tokens=None,
    )


def test_a_default_plan_has_an_id() -> None:
    with pytest.raises(ValueError, match="id of its version"):
        without_subscription(START, PLAN, None)


def test_compiling_twice_says_the_same() -> None:
    features = [Feature(name=f"f{n}", title="F", limits={"pro": n}) for n in range(5)]
    assert constraints(PLAN, features=features) == constraints(PLAN, NOW + timedelta(days=99), features=features)


def test_what_stripe_bills_is_counted_and_capped_here_and_costs_nothing_here() -> None:
    lines = (
        'strategy = "custom"\ncharges_models = false\nusage_billing = "stripe"\n'
        'meters = [{ meter = "agent_sessions", allowance = 5, cap = 9, overage = { price = 0.5 } }]'
    )
    (meter,) = constraints(read_plan(lines)).meters
    assert (meter.meter, meter.allowance, meter.cap, meter.price) == ("agent_sessions", 5, 9, 0)


def test_tokens_by_provider_are_in_no_gateways_document() -> None:
    plan = msgspec.structs.replace(
        read_plan('strategy = "flat"'), meters=(PlanMeter(meter="llm_tokens_x", price=1),), usage_billing="stripe"
    )
    plan = msgspec.structs.replace(plan, strategy="custom")
    assert constraints(plan).meters == ()
