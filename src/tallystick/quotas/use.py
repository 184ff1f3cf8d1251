"""What is said of a feature's use: that it was counted, how much is left, whether another one would be. Pure.

A feature is limited in a rolling window: a use leaves it exactly 30 days after it happened. `limit` and `remaining` are
None where the tier is unlimited.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

WINDOW: Final = timedelta(days=30)


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A use, or several, that was counted. Never more than the limit are, however many ask at a time."""

    id: str
    """Names it when it is given back."""
    feature: str
    units: int
    used: int
    """In the window ending now, this use included."""
    limit: int | None
    remaining: int | None
    resets_at: datetime | None
    """When the oldest use leaves the window; None where nothing limits it, or where it could not be read."""
    repeated: bool = False
    """The same request id had been counted before, and was not counted again."""


class QuotaCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the next use would be admitted; true and false like it. It counts nothing and reserves nothing."""

    feature: str
    tier: str
    allowed: bool
    used: int
    limit: int | None
    remaining: int | None
    retry_at: datetime | None
    """When it would be, where it is not; None where no waiting helps."""
    reason: str | None = None
    """One sentence for the customer where it would not be."""

    def __bool__(self) -> bool:
        return self.allowed


class FeatureUsage(msgspec.Struct, frozen=True, kw_only=True):
    used: int
    limit: int | None
    remaining: int | None


class TierUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Every feature of the catalog, in the 30 days that end now."""

    tier: str
    usage: dict[str, FeatureUsage]
    period_start: datetime
    period_end: datetime


def remaining_of(limit: int | None, used: int) -> int | None:
    """A plan that became smaller leaves nothing, not less than nothing."""
    return None if limit is None else max(0, limit - used)
