"""Since when, and by which plan, Stripe bills: whatever a history of steps says last."""

from datetime import UTC, datetime, timedelta

from tallystick.catalog.plan import Plan, PlanMeter
from tallystick.constraints.constraints import PeriodRule
from tallystick.payments.meters.span import Span, Step, spans

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def plan(version: int) -> Plan:
    """Version 0 is billed by the ledger, the others by Stripe, with an allowance of their number."""
    return Plan(
        slug="p", name="P", strategy="custom", amount_minor=0, currency="usd", interval="month", tier="pro",
        charges_models=False, meters=(PlanMeter(meter="runs", allowance=version, price=5), PlanMeter(meter="b", cap=1)),
        usage_billing="stripe" if version else "own",
    )  # fmt: skip


def step(day: int, version: int | None, anchor: int = 0) -> Step:
    at, counted = (DAY + timedelta(days=number) for number in (day, anchor))
    return Step(effective_at=at, plan_version=version, anchor=counted, customer="cus_1")


def span(first: int, last: int | None, allowance: int, anchor: int = 0) -> Span:
    return Span(
        starts_at=DAY + timedelta(days=first),
        ends_at=None if last is None else DAY + timedelta(days=last),
        allowances={"runs": allowance},
        period=PeriodRule(anchor=DAY + timedelta(days=anchor), interval="month"),
        customer="cus_1",
    )


def test_from_the_step_on_until_the_next() -> None:
    assert spans([step(1, 1), step(5, 2), step(7, None)], plan) == [span(1, 5, 1), span(5, 7, 2)]
    assert spans([step(1, 0), step(5, 1), step(8, 0)], plan) == [span(5, 8, 1)]
    assert spans([], plan) == []


def test_a_step_that_changes_nothing_of_usage_divides_nothing() -> None:
    assert spans([step(1, 1), step(2, 1), step(3, 1)], plan) == [span(1, None, 1)]


def test_a_new_anchor_divides() -> None:
    assert spans([step(1, 1), step(5, 1, anchor=5)], plan) == [span(1, 5, 1), span(5, None, 1, anchor=5)]


def test_what_was_noted_later_has_the_last_word() -> None:
    assert spans([step(1, 1), step(9, 2), step(4, None)], plan) == [span(1, 4, 1)]
    assert spans([step(1, 1), step(1, 2)], plan) == [span(1, None, 2)]
    assert spans([step(3, None), step(5, 1)], plan) == [span(5, None, 1)]
