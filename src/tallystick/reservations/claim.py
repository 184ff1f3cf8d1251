"""Claims: what a request takes of a meter's period or of a feature's window, beside or instead of credits. Pure."""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

UNITS_MAX: Final = 10**15
UNLIMITED: Final = 4 * 10**18

Layer = Literal["included", "promotional", "purchased", "overage"]


class Claim(Struct, frozen=True, kw_only=True, gc=False):
    """`units` of a meter in one billing period; held until the hold ends, then corrected to what was really used."""

    meter: str
    units: int
    """The most the request can use."""
    starts_at: datetime
    ends_at: datetime
    """The period by the caller's clock; the database's clock has the last word."""
    allowance: int = 0
    cap: int | None = None
    price: int = 0
    """Nanocredits for `per` units beyond the allowance."""
    per: int = 1


class FeatureClaim(Struct, frozen=True, kw_only=True, gc=False):
    """A use, or several, of a feature in its rolling window of 30 days; given back when the hold is released."""

    feature: str
    units: int
    limit: int | None


AnyClaim = Claim | FeatureClaim


class Admitted(Struct, frozen=True, kw_only=True, gc=False):
    """How a request was admitted."""

    layer: Layer
    """Who pays what the request can cost at most."""
    amount: int
    """Nanocredits held in all, worst-case overage included."""
    used: tuple[int, ...]
    """For each claim, in order: what is used and held of it now, this request's share included."""
    repeated: bool = False


class Settled(Struct, frozen=True, kw_only=True, gc=False):
    """What ending a hold came to."""

    charge: int
    """Nanocredits charged in all."""
    overage: int
    """The part of it that is for units beyond allowances."""
    posted: int
    held: int
    available: int
