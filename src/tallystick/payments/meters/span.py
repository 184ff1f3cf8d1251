"""When Stripe billed an organization's usage, and by which plan: read off the history of its subscriptions. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from tallystick.catalog.plan import Plan
from tallystick.constraints.constraints import PeriodRule


class Step(Struct, frozen=True, kw_only=True):
    """What a subscription was from a moment on; the version is None where it had ended, or Stripe did not bill it."""

    effective_at: datetime
    plan_version: int | None
    anchor: datetime
    customer: str | None


class Span(Struct, frozen=True, kw_only=True):
    """From `starts_at` to before `ends_at` Stripe bills these meters; None is: it still does."""

    starts_at: datetime
    ends_at: datetime | None
    allowances: dict[str, int]
    """Of each meter, the units of a period that the plan's price includes: only what lies beyond them is told."""
    period: PeriodRule
    customer: str | None
    """Whom Stripe bills, where the subscription says it."""


def spans(steps: Iterable[Step], plan: Callable[[int], Plan]) -> Sequence[Span]:
    """In the order of time. A step that was noted later has the last word on everything after its moment."""
    found: list[Span] = []
    for step in steps:
        found = [_until(span, step.effective_at) for span in found if span.starts_at < step.effective_at]
        if step.plan_version is None:
            continue
        pinned = plan(step.plan_version)
        allowances = {meter.meter: meter.allowance or 0 for meter in pinned.billed_by_stripe}
        if allowances:
            found.append(
                Span(
                    starts_at=step.effective_at,
                    ends_at=None,
                    allowances=allowances,
                    period=PeriodRule(anchor=step.anchor, interval=pinned.interval),
                    customer=step.customer,
                )
            )
    return _joined(found)


def _until(span: Span, end: datetime) -> Span:
    return span if span.ends_at is not None and span.ends_at <= end else replace(span, ends_at=end)


def _joined(found: Sequence[Span]) -> Sequence[Span]:
    """A change that has nothing to do with usage, such as a payment that came, divides nothing."""
    joined: list[Span] = []
    for span in found:
        last = joined[-1] if joined else None
        if last is not None and last.ends_at is not None:
            whole = replace(last, ends_at=span.ends_at)
            if replace(whole, starts_at=last.ends_at) == span:
                joined[-1] = whole
                continue
        joined.append(span)
    return joined
