"""Subscriptions: which version of a plan an organization is on, since when, and what is to become of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.catalog.plan import Plan
from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import Period, period_at

queries = load_queries(__file__, "subscription.sql")

Status = Literal["trialing", "active", "past_due", "paused", "canceled"]


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table; nobody writes it but the verbs of this package, each with its event."""

    id: str
    organization: str
    plan_version: int
    status: Status
    anchor: datetime
    trial_ends_at: datetime | None = None
    pending_plan_version: int | None = None
    pending_at: datetime | None = None
    cancel_at: datetime | None = None
    past_due_since: datetime | None = None
    grace_ends_at: datetime | None = None
    stripe_customer: str | None = None
    stripe_subscription: str | None = None
    created_at: datetime
    ended_at: datetime | None = None

    def status_unpaused(self, now: datetime) -> Status:
        """What a live subscription's status is when nobody paused it."""
        if self.past_due_since is not None:
            return "past_due"
        return "trialing" if self.trial_ends_at is not None and now < self.trial_ends_at else "active"

    def period(self, plan: Plan, now: datetime) -> Period:
        """The billing period that `now` lies in; `plan` is the one that is pinned."""
        return period_at(PeriodRule(anchor=self.anchor, interval=plan.interval), now)

    def paid_until(self, plan: Plan, now: datetime) -> datetime:
        """When what runs now ends by itself: the trial, or else the billing period."""
        if self.trial_ends_at is not None and now < self.trial_ends_at:
            return self.trial_ends_at
        return self.period(plan, now).ends_at


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done; before and after are the rows as JSON texts, the proration too."""

    seq: int
    subscription: str | None
    what: str
    done_by: str
    effective_at: datetime
    at: datetime
    before: msgspec.Raw | None
    after: msgspec.Raw | None
    proration: msgspec.Raw | None


async def live(connection: asyncpg.Connection, organization: str) -> Subscription | None:
    """The organization's subscription, where it has one that has not ended."""
    row = await queries.live(connection, organization=organization)
    return None if row is None else msgspec.convert(dict(row), Subscription)


async def billed_as(connection: asyncpg.Connection, stripe_subscription: str) -> Subscription | None:
    """The one that Stripe bills under this id, live or ended."""
    row = await queries.billed_as(connection, stripe_subscription=stripe_subscription)
    return None if row is None else msgspec.convert(dict(row), Subscription)


async def had_one(connection: asyncpg.Connection, organization: str) -> bool:
    """Whether the organization ever had a subscription, live or ended."""
    found: bool = await queries.had_one(connection, organization=organization)
    return found


async def count_by_version(connection: asyncpg.Connection) -> dict[int, int]:
    """How many live subscriptions pin each version of a plan."""
    return {row["plan_version"]: row["subscribers"] async for row in queries.count_by_version(connection)}


async def page(connection: asyncpg.Connection, *, after: str = "", limit: int = 100) -> Sequence[Subscription]:
    """Live subscriptions in the order of their organizations, those behind the organization `after`."""
    rows = queries.list_live(connection, after=after, row_limit=limit)
    return [msgspec.convert(dict(row), Subscription) async for row in rows]


async def history(connection: asyncpg.Connection, organization: str, *, limit: int = 100) -> Sequence[Event]:
    """What was done, the newest first; of ended subscriptions and of overrides too."""
    rows = queries.history(connection, organization=organization, row_limit=limit)
    return [_event(row) async for row in rows]


def _event(row: asyncpg.Record) -> Event:
    texts = {name: row[name] for name in ("before", "after", "proration")}
    raw = {name: None if text is None else msgspec.Raw(text.encode()) for name, text in texts.items()}
    return Event(**{**dict(row), **raw})
