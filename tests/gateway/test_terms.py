"""What a constraints document says of one call: nothing to decide, claims, or no access."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tallystick.catalog.plan import PlanRates
from tallystick.catalog.price import Usage
from tallystick.constraints.compile import compile_constraints
from tallystick.constraints.constraints import Constraints, MeterConstraint
from tallystick.constraints.subscriber import without_subscription
from tallystick.gateway.terms import AccessDenied, Terms, terms_of, units_used
from tallystick.reservations.claim import Claim, FeatureClaim

NOW = datetime(2026, 3, 1, tzinfo=UTC)
USAGE = Usage(input_tokens=10, output_tokens=100)
PLAIN = compile_constraints("org", 1, without_subscription(NOW, None, None), [], version=1, now=NOW)


def terms(constraints: Constraints, feature: str | None = None) -> Terms:
    return terms_of(constraints, "small", feature, USAGE, 5_000, NOW)


def meter(name: str) -> MeterConstraint:
    return MeterConstraint(meter=name, allowance=7, cap=7, price=0, per=1)


def test_without_a_plan_there_is_nothing_to_decide() -> None:
    assert terms(PLAIN) == Terms(charges_models=True, claims=())
    assert terms(replace(PLAIN, charges_models=False)) == Terms(charges_models=False, claims=())


@pytest.mark.parametrize(
    "change",
    [
        {"access": False},
        {"access_until": NOW},
        {"auth_modes": ("byok",)},
        {"routes": ("large",)},
    ],
)
def test_no_access(change: dict[str, Any]) -> None:
    with pytest.raises(AccessDenied):
        terms(replace(PLAIN, **change))


def test_access_that_ends_later_or_has_the_route() -> None:
    assert terms(replace(PLAIN, access_until=NOW + timedelta(seconds=1))).claims == ()
    assert terms(replace(PLAIN, routes=("small",))).claims == ()


def test_each_limit_is_claimed_with_the_most_the_call_can_use() -> None:
    names = ("requests", "input_tokens", "output_tokens", "llm_inferences", "dollars")
    document = replace(
        PLAIN,
        meters=tuple(map(meter, (*names, "document_page"))),
        rates=PlanRates(concurrency=3),
        quotas={"chat": 9},
    )
    found = terms(document, "chat")
    claimed = {
        claim.meter if isinstance(claim, Claim) else claim.feature: (claim.units, getattr(claim, "cap", None))
        for claim in found.claims
    }
    assert claimed == {
        "chat": (1, None),
        "requests": (1, 7),
        "input_tokens": (10, 7),
        "output_tokens": (100, 7),
        "llm_inferences": (110, 7),
        "dollars": (5_000, 7),
        "concurrency": (1, 3),
    }
    feature = found.claims[0]
    assert isinstance(feature, FeatureClaim)
    assert feature.limit == 9
    used = units_used(found.meters, Usage(input_tokens=4, output_tokens=6), 900)
    assert dict(zip(found.meters, used, strict=True)) == {
        "": 0,
        "requests": 1,
        "input_tokens": 4,
        "output_tokens": 6,
        "llm_inferences": 10,
        "dollars": 900,
        "concurrency": 0,
    }


def test_limits_count_what_was_used_not_what_was_claimed() -> None:
    document = replace(PLAIN, meters=(meter("output_tokens"), meter("dollars")), quotas={"chat": 9})
    found = terms(document, "chat")
    shown = {limit["name"]: (limit["used"], limit["remaining"]) for limit in found.limits((1, 100, 5_000), (0, 6, 900))}
    assert shown == {"chat": (1, 8), "output_tokens": (6, 1), "dollars": ("0.0000009", "0.00")}
    given_back = {limit["name"]: limit["used"] for limit in found.limits((1, 100, 5_000), None)}
    assert given_back == {"chat": 0, "output_tokens": 0, "dollars": "0.00"}
