"""What is known of an organization when its constraints are compiled: the plan it has, and what was agreed beside it.

Pure.
"""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from tallystick.catalog.plan import Plan, PlanRates
from tallystick.constraints.constraints import Status

BUILT_IN: Final = Plan(
    slug="prepaid",
    name="Prepaid credits",
    strategy="prepaid",
    amount_minor=0,
    currency="usd",
    interval="month",
    tier="free",
    charges_models=True,
)
"""The plan of an organization without a subscription where the catalog has no default: it is in no catalog."""


class Restriction(Struct, frozen=True):
    """How an organization is held back whose payment went back, whatever its plan says; and whether that is because
    it owes the credits that it spent, or because it disputes what it paid for its plan."""

    kind: Literal["throttle", "freeze"]
    because: Literal["debt", "dispute"]


class Overrides(Struct, frozen=True, kw_only=True):
    """What the operator agreed with one organization, whatever its plan says."""

    quotas: dict[str, int | None] = {}
    """Limits of features; None is unlimited."""
    rates: PlanRates | None = None
    """Instead of all of the plan's."""
    credit_limit: int | None = None
    """Nanocredits."""
    metered_enabled: bool = False
    """Whether the organization may use the operator's own provider keys, in the auth mode "metered"."""


class Subscriber(Struct, frozen=True, kw_only=True):
    """A plan and where its subscription stands."""

    plan: Plan
    plan_version: int | None
    """The id of the catalog entry that is pinned; None for the built-in plan alone."""
    status: Status
    anchor: datetime
    """Billing periods are counted from here."""
    past_due_since: datetime | None = None
    grace_over: bool = False
    """Whether who is past due has no grace left, however long the plan gives it."""
    overrides: Overrides = Overrides()
    restriction: Restriction | None = None

    def __post_init__(self) -> None:
        if (self.status == "past_due") != (self.past_due_since is not None):
            raise ValueError("past_due_since is known of a subscriber who is past due, and of no other")


def without_subscription(
    created_at: datetime,
    default: Plan | None,
    default_version: int | None,
    overrides: Overrides | None = None,
    restriction: Restriction | None = None,
) -> Subscriber:
    """An organization that never subscribed, or does no more: the catalog's default plan, or the built-in one."""
    if (default is None) != (default_version is None):
        raise ValueError("a default plan comes with the id of its version")
    return Subscriber(
        plan=default or BUILT_IN,
        plan_version=default_version,
        status="none",
        anchor=created_at,
        overrides=overrides or Overrides(),
        restriction=restriction,
    )
