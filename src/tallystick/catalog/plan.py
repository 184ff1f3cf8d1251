"""What is sold by subscription: plans, the meters they count by, the features that tiers limit. Pure.

Stored like every document of the catalog: a published version never changes, and a subscription pins one.
"""

from typing import Final, Literal

import msgspec

Strategy = Literal["flat", "included", "overage", "payg", "prepaid", "custom"]
Interval = Literal["month", "year"]
AuthMode = Literal["credits", "byok", "metered"]
Aggregation = Literal["count", "sum", "max", "unique"]
UsageBilling = Literal["own", "stripe"]

DOLLARS: Final = "dollars"
"""The meter whose unit is one nanocredit of what models are charged by the price book."""


CONCURRENCY: Final = "concurrency"
"""Under this name the requests that run now are counted, as if they were units of a meter; no meter has it."""


class PlanMeter(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a plan says of one meter, per billing period; units are the meter's own (nanocredits for `dollars`)."""

    meter: str
    allowance: int | None = None
    """Units the plan's price includes; None where the plan names none."""
    cap: int | None = None
    """Units that are admitted at all; None is no end."""
    price: int | None = None
    """Nanocredits for `per` units beyond the allowance; None where nothing is sold beyond it."""
    per: int = 1


class PlanRates(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How fast a customer may be; None is as fast as they like."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a plan."""

    slug: str
    name: str
    strategy: Strategy
    amount_minor: int
    """Cents of `currency` for each interval."""
    currency: str
    interval: Interval
    tier: str
    """Whose column of the features' limits applies: free, pro, enterprise."""
    meters: tuple[PlanMeter, ...] = ()
    charges_models: bool
    """Whether models are charged by the price book (from credits, then on account), or paid for by the plan."""
    quotas: dict[str, int | None] = {}
    """Limits of features that differ from the tier's; None is unlimited."""
    features: tuple[str, ...] = ()
    """Names of what the plan gives access to, for the applications that ask."""
    rates: PlanRates = PlanRates()
    routes: tuple[str, ...] | None = None
    """Aliases that may be called; None is all of them."""
    auth_modes: tuple[AuthMode, ...] = ("credits",)
    credit_limit: int = 0
    """Nanocredits a customer may owe before a request is refused: what overage and pay-as-you-go bill later."""
    overdraft: int = 0
    """Nanocredits beyond that which only a settlement above its hold may use."""
    default_max_tokens: int | None = None
    trial_days: int = 0
    grace_days: int = 7
    """How long a customer who is past due keeps access."""
    default: bool = False
    """The plan of every organization without a subscription; one plan at most."""
    stripe_price: str | None = None
    usage_billing: UsageBilling = "own"
    """Who bills the units of priced meters: our own ledger, or Stripe, which is told how many there were."""

    @property
    def billed_by_stripe(self) -> tuple[PlanMeter, ...]:
        """The meters whose units Stripe bills, and our ledger does not."""
        return tuple(meter for meter in self.meters if meter.price is not None and self.usage_billing == "stripe")


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A named unit of usage."""

    name: str
    title: str
    unit: str
    aggregation: Aggregation


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """Something a tier allows so many times in a rolling window of 30 days."""

    name: str
    title: str
    limits: dict[str, int | None]
    """By tier; None is unlimited. A tier that is not named has none of it."""
