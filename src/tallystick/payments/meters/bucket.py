"""The stretches of time that usage is reported in: hours, cut where a billing period or a way of billing ends. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final

from msgspec import Struct

from tallystick.constraints.period import period_at
from tallystick.metering import lateness
from tallystick.payments.meters.span import Span

HOUR: Final = timedelta(hours=1)
SETTLES: Final = timedelta(minutes=2)
"""So long after its end an hour is first looked at: what was under way is nearly always committed by then. What is not
is found by a later look."""
FINALIZES: Final = timedelta(minutes=45)
"""So long after a period's end Stripe still takes what happened in it: it finalizes the invoice an hour after the end,
and what was told must have reached it by then. What comes later counts in the period it comes in."""
CHANGES: Final = lateness.DEFAULT.grace + timedelta(days=1)
"""So long after its period's end an hour can still change: usage events come late."""
REACHES: Final = timedelta(days=34)
"""Stripe takes events of the last 35 days."""


class Bucket(Struct, frozen=True, kw_only=True):
    """At most an hour of one period, from `starts_at` to before `ends_at`."""

    starts_at: datetime
    ends_at: datetime
    period_starts_at: datetime
    period_ends_at: datetime
    allowances: dict[str, int]
    customer: str | None


def buckets(spans: Sequence[Span], since: datetime, now: datetime) -> Iterator[Bucket]:
    """Every bucket that has ended, and settled, by `now`, and whose hour begins at `since` or later."""
    for span, following in zip_longest(spans, spans[1:]):
        start = max(span.starts_at, hour_of(since))
        end = now if span.ends_at is None else min(now, span.ends_at)
        while start < end:
            period = period_at(span.period, start)
            stop = min(hour_of(start) + HOUR, period.ends_at, span.ends_at or period.ends_at)
            if stop + SETTLES > now:
                break
            yield Bucket(
                starts_at=start,
                ends_at=stop,
                period_starts_at=period.starts_at,
                period_ends_at=_billed_at(span, following, period.ends_at),
                allowances=span.allowances,
                customer=span.customer,
            )
            start = stop


def beginning(spans: Sequence[Span], since: datetime) -> datetime:
    """From when on usage must be known, to tell what of that since `since` lies beyond allowances."""
    found = since
    for span in spans:
        if span.starts_at <= since and (span.ends_at is None or since < span.ends_at) and any(span.allowances.values()):
            found = min(found, period_at(span.period, since).starts_at)
    return found


def oldest_open(spans: Sequence[Span], now: datetime) -> datetime:
    """From here on buckets can still change."""
    found = now
    for span in spans:
        moment = max(span.starts_at, now - CHANGES)
        if moment < (span.ends_at or now):
            found = min(found, max(span.starts_at, period_at(span.period, moment).starts_at))
        elif span.ends_at is not None and span.ends_at > now - CHANGES:
            found = min(found, span.starts_at)
    return found


def boundaries(spans: Sequence[Span], since: datetime, now: datetime) -> Iterator[datetime]:
    """The ends of periods between `since` and `now`, the running one's excluded."""
    for span, following in zip_longest(spans, spans[1:]):
        at = max(span.starts_at, since)
        while at < (span.ends_at or now):
            end = _billed_at(span, following, period_at(span.period, at).ends_at)
            if end > now:
                break
            yield end
            at = end


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _billed_at(span: Span, following: Span | None, period_ends_at: datetime) -> datetime:
    """When the invoice is due. What runs on under another plan, or was noted anew, is billed as it would have been;
    a subscription that ends, or whose periods are counted from another moment, is billed then."""
    if span.ends_at is None or period_ends_at <= span.ends_at:
        return period_ends_at
    if following is None or following.starts_at != span.ends_at:
        return span.ends_at
    period = period_at(following.period, span.ends_at)
    return period.ends_at if period.starts_at < span.ends_at else span.ends_at
