"""Tell Stripe what was collected: each report once, through every crash and every answer that is lost.

An attempt is noted before it is made. A report whose attempt has no known outcome is sent again under its identifier,
which Stripe takes once in 24 hours; after that, or when its period is over, Stripe's sum of its minute tells first.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter

from tallystick.base.database import load_queries
from tallystick.base.together import together
from tallystick.payments.errors import PaymentPending, PaymentRefused
from tallystick.payments.meters.billed import read_billed, read_taken, take_turn
from tallystick.payments.meters.bucket import REACHES
from tallystick.payments.meters.collect import TOO_LATE
from tallystick.payments.meters.report import MINUTE, in_time, minute_of, slot
from tallystick.payments.meters.written import Written
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.meter import MeterEvent, meters_by_event, send_event, units_between

IDENTIFIED: Final = timedelta(hours=23)
"""Stripe knows an identifier for 24 hours at least: until then the same event can be sent again."""
SHOWN: Final = timedelta(minutes=10)
"""What Stripe has taken is in its sums after that."""
NO_METER: Final = "no_meter"
AT_A_TIME: Final = 8
_PASS_MAX: Final = 5_000

_queries = load_queries(__file__, "send.sql")
_log = structlog.get_logger()
_reports = Counter("tallystick_meter_reports", "Usage reports to Stripe, by how an attempt ended", ["outcome"])

Outcome = Literal["sent", "confirmed", "failed", "waiting"]


class Attempt(Written, frozen=True, kw_only=True):
    """A report that is to be sent. `first_attempt_at` is that of an attempt before this one."""

    organization: str
    livemode: bool
    meter: str
    starts_at: datetime
    ends_at: datetime
    period_ends_at: datetime
    first_attempt_at: datetime | None
    last_attempt_at: datetime | None
    at: datetime
    """This attempt's moment, by the database's clock."""

    @property
    def is_in_time(self) -> bool:
        return in_time(self.counts_at, self.period_ends_at, self.at)


async def send(pool: asyncpg.Pool, stripe: StripeClient) -> int:
    """Send what is waiting and due; returns how many reports Stripe has now that it was not known to have.

    Several are under way at once, here as in other processes: each report is one taker's. What fails with one of them
    keeps no other from being sent, and is raised at the end."""
    turns = iter(range(_PASS_MAX))
    return sum(await together(_send_in_turn(pool, stripe, turns) for _ in range(AT_A_TIME)))


async def _send_in_turn(pool: asyncpg.Pool, stripe: StripeClient, turns: Iterator[int]) -> int:
    done = 0
    for _ in turns:
        # Noted, and committed, before Stripe hears of it; and out of others' reach for a while.
        row = await _queries.take(pool, livemode=stripe.livemode)
        if row is None:
            break
        attempt = msgspec.convert(dict(row), Attempt)
        outcome, problem = await _try(pool, stripe, attempt)
        _reports.labels(outcome).inc()
        await _queries.note(pool, id=attempt.id, state=outcome, problem=problem)
        done += outcome in {"sent", "confirmed"}
    return done


async def _try(pool: asyncpg.Pool, stripe: StripeClient, attempt: Attempt) -> tuple[Outcome, str | None]:
    try:
        first = attempt.first_attempt_at
        if first is not None and (not attempt.is_in_time or attempt.at - first > IDENTIFIED):
            found = await _ask(stripe, attempt)
            if found is not None:
                return found
        if not attempt.is_in_time:
            moved = await _move(pool, attempt)
            if not isinstance(moved, Attempt):
                return moved
            attempt = moved
        answer = await send_event(stripe, attempt.event)
    except PaymentPending as error:
        return "waiting", error.message
    except PaymentRefused as error:
        _log.error("meter_report_refused", organization=attempt.organization, meter=attempt.meter, reason=error.reason)
        return "failed", f"Stripe refused it ({error.reason or 'no reason given'})."
    return "sent" if answer == "taken" else "confirmed", None


async def _ask(stripe: StripeClient, attempt: Attempt) -> tuple[Outcome, str | None] | None:
    """What Stripe's sum says of an attempt whose outcome nobody knows; None: it does not have it."""
    if attempt.last_attempt_at is not None and attempt.at - attempt.last_attempt_at < SHOWN:
        return "waiting", "Stripe's sum does not yet show whether it has it."
    there = await units_at(stripe, await meters_by_event(stripe), attempt.event)
    if there == attempt.units:
        return "confirmed", None
    if there == 0:
        return None
    return "failed", f"Stripe has {there} units of that minute, and {attempt.units} were told."


async def units_at(stripe: StripeClient, meters: Mapping[str, str], event: MeterEvent) -> int:
    """What Stripe has in the event's own minute. Raises PaymentRefused where it has no such meter."""
    minute = minute_of(event.at)
    return await units_between(stripe, meter_id(meters, event.name), event.customer, minute, minute + MINUTE)


def meter_id(meters: Mapping[str, str], name: str) -> str:
    """Raises PaymentRefused, as Stripe would."""
    if name not in meters:
        raise PaymentRefused(f"There is no meter {name} at Stripe.", reason=NO_METER)
    return meters[name]


async def _move(pool: asyncpg.Pool, attempt: Attempt) -> Attempt | tuple[Outcome, str]:
    """The period it was to count in is closed, and Stripe does not have it: it counts now, if something is billed now.

    The identifier stays, so that an attempt that comes through late after all is not counted twice."""
    async with pool.acquire() as connection, connection.transaction():
        await take_turn(connection, attempt.organization)
        billed = await read_billed(connection, attempt.organization, livemode=attempt.livemode, now=None)
        taken = (await read_taken(connection, billed, billed.now - REACHES)).get(attempt.meter, set())
        free = slot(attempt.starts_at, attempt.ends_at, attempt.period_ends_at, billed.clock, taken)
        if free is None:
            return "waiting", "Its period is closed, and every minute of this one has an event: it waits for the next."
        if free.closed:
            return "failed", TOO_LATE
        await _queries.move(connection, id=attempt.id, counts_at=free.counts_at, period_ends_at=free.period_ends_at)
    return msgspec.structs.replace(attempt, counts_at=free.counts_at, period_ends_at=free.period_ends_at)
