"""The constraints document of one organization: all that a gateway reads about a customer. Pure.

Core compiles it (compile.py) and stores it; a gateway enforces it and knows nothing of plans.
"""

from datetime import datetime
from typing import Literal

import msgspec

from tallystick.catalog.plan import AuthMode, Interval, PlanRates, Strategy

Status = Literal["none", "trialing", "active", "past_due", "paused"]
"""Of a subscription; "none" where there is none, or where it ended."""


class MeterConstraint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What may be used of one meter in a period, and what it costs beyond the allowance."""

    meter: str
    allowance: int
    """Units that cost nothing more."""
    cap: int | None
    """Units that are admitted at all; None is no end."""
    price: int
    """Nanocredits for `per` units beyond the allowance."""
    per: int


class PeriodRule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Billing periods: `interval` long each, counted from the anchor, in UTC."""

    anchor: datetime
    interval: Interval


class Constraints(msgspec.Struct, frozen=True, kw_only=True):
    """Version after version of one organization; the highest is in force."""

    organization: str
    account: int
    version: int
    plan: str | None
    """The slug, None where the organization has no plan and pays by credits alone."""
    plan_version: int | None
    """The id of the catalog entry the subscription pins."""
    strategy: Strategy
    status: Status
    access: bool
    access_until: datetime | None = None
    """When access ends by itself, as the grace of who is past due does; None is no such moment."""
    access_reason: str | None
    """One sentence for the customer where there is no access, or none from `access_until` on."""
    auth_modes: tuple[AuthMode, ...]
    charges_models: bool
    meters: tuple[MeterConstraint, ...]
    """Only those that limit or price something: a meter without consequence is not counted on the way of a request."""
    period: PeriodRule
    tier: str
    quotas: dict[str, int | None]
    """Every feature of the catalog; None is unlimited."""
    features: tuple[str, ...]
    rates: PlanRates
    routes: tuple[str, ...] | None
    credit_limit: int
    overdraft: int
    default_max_tokens: int | None
