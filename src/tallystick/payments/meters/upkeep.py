"""The jobs: every few minutes tell Stripe what was used, every night compare with what it has and mend what differs."""

from collections.abc import Callable, Sequence
from datetime import datetime

import asyncpg
import structlog
from prometheus_client import Gauge

from tallystick.base.database import load_queries
from tallystick.base.errors import TallystickError
from tallystick.payments.meters.billed import PAGE, organizations
from tallystick.payments.meters.bucket import CHANGES
from tallystick.payments.meters.collect import collect
from tallystick.payments.meters.compare import PASSING, Comparison, Difference, compare_one
from tallystick.payments.meters.mend import Mended, mend_one
from tallystick.payments.meters.send import send
from tallystick.payments.stripe.client import StripeClient

_queries = load_queries(__file__, "upkeep.sql")
_log = structlog.get_logger()
_differing = Gauge(
    "tallystick_meter_difference_units", "Units of usage in which Stripe differs from us, by cause", ["cause"]
)


async def report_usage(pool: asyncpg.Pool, stripe: StripeClient) -> int:
    """Hours that ended, and periods as soon as they did: their invoices are final an hour later."""
    try:
        await collect(pool, livemode=stripe.livemode)
    finally:
        # What is wrong with one organization's usage keeps nobody else's from being told.
        sent = await send(pool, stripe)
    return sent


async def compare_all(
    pool: asyncpg.Pool,
    stripe: StripeClient,
    *,
    organization: str | None = None,
    since: datetime | None = None,
    mend_by: str | None = None,
    progress: Callable[[str], None] = lambda _organization: None,
) -> tuple[Comparison, Mended]:
    """Of one organization, or of all that Stripe bills. With `mend_by` what differs is mended and compared again."""
    found, done = Comparison(differences=[], periods=[], until=None), Mended(collected=0, sent=0, canceled=0)
    failure: TallystickError | None = None
    for one in [organization] if organization else await _billed(pool):
        progress(one)
        try:
            compared = await compare_one(pool, stripe, one, since=since)
            if mend_by is not None and compared.differences:
                mended = await mend_one(pool, stripe, one, compared, by=mend_by)
                done = Mended(
                    collected=done.collected + mended.collected,
                    sent=done.sent + mended.sent,
                    canceled=done.canceled + mended.canceled,
                )
                compared = await compare_one(pool, stripe, one, since=since)
        except TallystickError as error:
            _log.error("meters_not_compared", organization=one, error=repr(error))
            failure = failure or error
            continue
        found = Comparison(
            differences=[*found.differences, *compared.differences],
            periods=[*found.periods, *compared.periods],
            # The first is the earliest: what all of them were compared up to.
            until=found.until or compared.until,
        )
    if failure is not None:
        raise failure
    return found, done


async def compare_nightly(pool: asyncpg.Pool, stripe: StripeClient) -> None:
    """What does not end by itself, and could not be mended, is an error in the log and a number for an alarm."""
    found, _done = await compare_all(pool, stripe, mend_by="clock")
    _count(found.differences)
    for one in found.differences:
        if one.cause not in PASSING:
            _log.error(
                "meter_differs",
                organization=one.organization,
                meter=one.meter,
                hour=one.hour.isoformat(),
                units=one.units,
                cause=one.cause,
                problem=one.problem,
            )


def _count(differences: Sequence[Difference]) -> None:
    _differing.clear()
    for one in differences:
        _differing.labels(one.cause).inc(abs(one.units))


async def _billed(pool: asyncpg.Pool) -> list[str]:
    found: list[str] = []
    async with pool.acquire() as connection:
        ended_after = await _queries.clock(connection) - CHANGES
        while True:
            after = found[-1] if found else ""
            rows = organizations(connection, after=after, ended_after=ended_after, row_limit=PAGE)
            page = [row["organization"] async for row in rows]
            found += page
            if len(page) < PAGE:
                return found
