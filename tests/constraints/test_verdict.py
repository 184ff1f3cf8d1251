"""What a request claims, and the laws of the whole decision: never beyond a limit, never beyond the money."""

from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_file import ADS, CREDIT, NOW, constraints, read_plan

from tallystick.catalog.plan import DOLLARS
from tallystick.constraints.constraints import MeterConstraint
from tallystick.constraints.period import period_at
from tallystick.constraints.verdict import (
    WINDOW,
    Balance,
    Claims,
    Counters,
    FeatureClaim,
    MeterClaim,
    Request,
    Use,
    Verdict,
    claims,
    decide,
    price_between,
    used_in_window,
)

PLAN = read_plan(
    """strategy = "custom"
charges_models = true
auth_modes = ["credits", "byok"]
credit_limit = 1
meters = [
    { meter = "requests", allowance = 2, cap = 4, overage = { price = 1, per = 3 } },
    { meter = "dollars", cap = 100 },
]"""
)
RULES = msgspec.structs.replace(constraints(PLAN), routes=("fast",))
REQUESTS, SPENT = RULES.meters
PERIOD = period_at(RULES.period, NOW)
RICH = Balance(purchased=100 * CREDIT)


def refusal(**asked) -> Verdict:
    verdict = decide(RULES, Counters(), RICH, Request(**asked), NOW)
    assert not verdict.admitted
    return verdict


def test_a_request_claims_what_the_document_limits_and_nothing_else() -> None:
    asked = Request(amount=5, units={"requests": 1, "input_tokens": 900}, features={"ads": 2, "none": 1}, route="fast")
    assert claims(RULES, asked, NOW) == Claims(
        features=(FeatureClaim(feature="ads", units=2, limit=10), FeatureClaim(feature="none", units=1, limit=0)),
        meters=(
            MeterClaim(constraint=REQUESTS, units=1, period=PERIOD),
            MeterClaim(constraint=SPENT, units=5, period=PERIOD),
        ),
        amount=5,
    )


def test_models_that_the_plan_pays_for_are_counted_in_dollars_and_not_charged() -> None:
    covered = msgspec.structs.replace(RULES, charges_models=False)
    wanted = claims(covered, Request(amount=5, units={DOLLARS: 2}), NOW)
    assert isinstance(wanted, Claims)
    assert wanted.amount == 0
    assert [(claim.constraint.meter, claim.units) for claim in wanted.meters] == [(DOLLARS, 7)]


def test_who_brings_a_key_pays_the_provider_and_counts_all_the_same() -> None:
    wanted = claims(RULES, Request(amount=5, units={"requests": 1}, auth_mode="byok"), NOW)
    assert isinstance(wanted, Claims)
    assert wanted.amount == 0
    assert [claim.constraint.meter for claim in wanted.meters] == ["requests"]


def test_a_route_that_the_plan_does_not_have() -> None:
    verdict = refusal(route="slow")
    assert (verdict.layer, verdict.name) == ("access", "route")
    assert verdict.message == "Your plan does not include the model 'slow'."
    assert decide(msgspec.structs.replace(RULES, routes=None), Counters(), RICH, Request(route="slow"), NOW).admitted


def test_an_auth_mode_that_the_plan_does_not_have() -> None:
    verdict = refusal(auth_mode="metered")
    assert (verdict.layer, verdict.name) == ("access", "auth_mode")
    assert decide(RULES, Counters(), RICH, Request(auth_mode="byok"), NOW).admitted


def test_access_ends_by_itself_in_a_document_that_nobody_replaced() -> None:
    rules = constraints(PLAN, status="past_due", past_due_since=NOW)
    ends_at = NOW + timedelta(days=7)
    assert decide(rules, Counters(), RICH, Request(), ends_at - timedelta(microseconds=1)).admitted
    verdict = decide(rules, Counters(), RICH, Request(), ends_at)
    assert (verdict.admitted, verdict.layer, verdict.message) == (False, "access", rules.access_reason)


def test_the_layers_are_asked_in_their_order() -> None:
    """Everything is wrong with the request, and one thing after the other is put right."""
    broke, spent = Balance(purchased=-CREDIT), Counters(meters={"requests": 4}, features={"ads": (Use(NOW, 10),)})
    asked = Request(amount=1, units={"requests": 1}, features={"ads": 1}, route="slow")
    layers = [decide(msgspec.structs.replace(RULES, access=False), spent, broke, asked, NOW)]
    layers.append(decide(RULES, spent, broke, asked, NOW))
    asked = msgspec.structs.replace(asked, route="fast")
    layers.append(decide(RULES, spent, broke, asked, NOW))
    spent = msgspec.structs.replace(spent, features={})
    layers.append(decide(RULES, spent, broke, asked, NOW))
    layers.append(decide(RULES, Counters(), broke, asked, NOW))
    assert [(v.layer, v.name) for v in layers] == [
        ("access", "status"),
        ("access", "route"),
        ("quota", "ads"),
        ("overage", "requests"),
        ("overage", "credit_limit"),
    ]
    assert decide(RULES, Counters(), RICH, asked, NOW).layer == "purchased"


def test_a_refusal_says_what_is_left_and_when_to_come_back() -> None:
    counters = Counters(meters={"requests": 3})
    verdict = decide(RULES, counters, RICH, Request(units={"requests": 2}), NOW)
    assert (verdict.limit, verdict.used, verdict.remaining, verdict.retry_at) == (4, 3, 1, PERIOD.ends_at)
    # The whole cap fits in the next period, and more fits in none.
    assert decide(RULES, counters, RICH, Request(units={"requests": 4}), NOW).retry_at == PERIOD.ends_at
    assert decide(RULES, counters, RICH, Request(units={"requests": 5}), NOW).retry_at is None


@pytest.mark.parametrize(
    ("ago", "units", "free_in"),
    [
        # Uses so many days ago, of so many units each; the request's units; days until they fit. The limit is 10.
        ([(1, 10)], 1, 29),
        ([(29, 1), (1, 9)], 1, 1),
        ([(29, 1), (20, 4), (1, 5)], 2, 10),
        ([(29, 1), (20, 4), (1, 5)], 6, 29),
        ([(29, 1), (20, 4), (1, 5)], 10, 29),
        ([(29, 1), (20, 4), (1, 5)], 11, None),
        ([(1, 5), (29, 1), (20, 4)], 1, 1),
    ],
)
def test_a_window_says_when_the_request_would_fit(ago: list, units: int, free_in: int | None) -> None:
    uses = tuple(Use(NOW - timedelta(days=days), each) for days, each in ago)
    asked = Request(features={"ads": units})
    verdict = decide(RULES, Counters(features={"ads": uses}), RICH, asked, NOW)
    assert (verdict.layer, verdict.name, verdict.limit, verdict.used) == ("quota", "ads", 10, 10)
    if free_in is None:
        assert verdict.retry_at is None
        return
    assert verdict.retry_at == NOW + timedelta(days=free_in)
    before = verdict.retry_at - timedelta(microseconds=1)
    assert not decide(RULES, Counters(features={"ads": uses}), RICH, asked, before).admitted
    assert decide(RULES, Counters(features={"ads": uses}), RICH, asked, verdict.retry_at).admitted


def test_a_use_counts_for_exactly_30_days() -> None:
    uses = (Use(NOW, 3),)
    assert used_in_window(uses, NOW + WINDOW - timedelta(microseconds=1)) == 3
    assert used_in_window(uses, NOW + WINDOW) == 0


def test_an_unlimited_feature_is_never_used_up() -> None:
    rules = msgspec.structs.replace(RULES, quotas={"ads": None})
    uses = (Use(NOW, 10**12),)
    assert decide(rules, Counters(features={"ads": uses}), RICH, Request(features={"ads": 10**9}), NOW).admitted


def test_a_quota_costs_nothing_and_is_independent_of_credits() -> None:
    broke = Balance(purchased=-CREDIT)
    verdict = decide(RULES, Counters(), broke, Request(features={"ads": 10}), NOW)
    assert verdict == Verdict(admitted=True, layer="included")


def test_of_several_allowances_the_one_that_ends_first_is_named() -> None:
    two = (REQUESTS, MeterConstraint(meter="document_page", allowance=10, cap=10, price=0, per=1))
    rules = msgspec.structs.replace(RULES, meters=two)
    asked = Request(units={"requests": 1, "document_page": 8})
    verdict = decide(rules, Counters(meters={"document_page": 1}), Balance(), asked, NOW)
    assert (verdict.name, verdict.limit, verdict.used, verdict.remaining) == ("requests", 2, 1, 1)
    verdict = decide(rules, Counters(meters={"document_page": 2}), Balance(), asked, NOW)
    assert (verdict.name, verdict.limit, verdict.used, verdict.remaining) == ("document_page", 10, 10, 0)


def test_what_is_left_of_the_money() -> None:
    asked = Request(amount=CREDIT // 4)
    paid = decide(RULES, Counters(), Balance(promotional=CREDIT // 4, purchased=CREDIT), asked, NOW)
    assert (paid.layer, paid.remaining) == ("promotional", CREDIT)
    owed = decide(RULES, Counters(), Balance(), asked, NOW)
    assert (owed.layer, owed.limit, owed.used, owed.remaining) == ("overage", CREDIT, CREDIT // 4, CREDIT * 3 // 4)
    short = decide(RULES, Counters(), Balance(purchased=-CREDIT), asked, NOW)
    assert (short.layer, short.limit, short.used, short.remaining) == ("overage", CREDIT, CREDIT, 0)


PRICES = st.builds(
    MeterConstraint,
    meter=st.just("requests"),
    allowance=st.integers(0, 50),
    cap=st.none(),
    price=st.integers(0, 10**6),
    per=st.integers(1, 1000),
)


@given(PRICES, st.lists(st.integers(0, 40), max_size=30))
def test_the_price_of_a_period_is_exact_however_it_is_divided(meter: MeterConstraint, steps: list[int]) -> None:
    used = [sum(steps[:n]) for n in range(len(steps) + 1)]
    beyond = max(0, used[-1] - meter.allowance)
    charged = sum(price_between(meter, before, after) for before, after in pairwise(used))
    assert charged == -(-meter.price * beyond // meter.per)


@given(PRICES, st.integers(0, 100), st.data())
def test_what_is_set_aside_is_enough_whichever_request_ends_first(meter, used, data) -> None:
    """Set aside is the price of used + held less that of used; each end takes its charge, and the rest has the same."""
    claimed = data.draw(st.lists(st.integers(0, 40), max_size=8))
    held = sum(claimed)
    aside = price_between(meter, used, used + held)
    for units in data.draw(st.permutations(claimed)):
        really = data.draw(st.integers(0, units))
        charge = price_between(meter, used, used + really)
        used, held = used + really, held - units
        rest = price_between(meter, used, used + held)
        assert charge + rest <= aside
        aside = rest
    assert aside == 0


COUNTED = st.fixed_dictionaries({"requests": st.integers(0, 6), DOLLARS: st.integers(0, 101 * CREDIT)})
ASKED = st.builds(
    Request,
    amount=st.integers(0, 2 * CREDIT),
    units=st.fixed_dictionaries({"requests": st.integers(0, 4)}),
    features=st.fixed_dictionaries({"ads": st.integers(0, 12)}),
)
BALANCES = st.builds(Balance, promotional=st.integers(0, CREDIT), purchased=st.integers(-CREDIT, CREDIT))
USES = st.lists(st.builds(Use, st.timedeltas(-2 * WINDOW, timedelta(0)).map(lambda ago: NOW + ago), st.integers(1, 4)))


@given(COUNTED, USES, BALANCES, ASKED)
def test_nothing_is_admitted_beyond_a_limit_and_nothing_refused_below(counted, uses, balance, asked) -> None:
    verdict = decide(RULES, Counters(meters=counted, features={"ads": tuple(uses)}), balance, asked, NOW)
    requests = counted["requests"] + asked.units["requests"]
    dollars = counted[DOLLARS] + asked.amount
    fits = {
        "ads": used_in_window(uses, NOW) + asked.features["ads"] <= 10,
        "requests": requests <= 4,
        DOLLARS: dollars <= 100 * CREDIT or not asked.amount,
    }
    due = asked.amount + price_between(REQUESTS, counted["requests"], requests)
    paid = due == 0 or due <= balance.promotional + balance.purchased + RULES.credit_limit
    assert verdict.admitted == (all(fits.values()) and paid)
    assert verdict.admitted or verdict.name == next((name for name, fit in fits.items() if not fit), "credit_limit")
    assert verdict.amount == (due if verdict.admitted else 0)


@given(COUNTED, USES, BALANCES, ASKED)
def test_more_money_never_turns_a_yes_into_a_no(counted, uses, balance, asked) -> None:
    counters = Counters(meters=counted, features={"ads": tuple(uses)})
    richer = msgspec.structs.replace(balance, purchased=balance.purchased + CREDIT)
    before, after = (decide(RULES, counters, known, asked, NOW) for known in (balance, richer))
    assert after.admitted >= before.admitted
    order = ["included", "promotional", "purchased", "overage"]
    if before.admitted:
        assert order.index(after.layer) <= order.index(before.layer)


def test_the_features_of_these_tests_are_the_documents() -> None:
    assert RULES.quotas == {ADS.name: 10}
