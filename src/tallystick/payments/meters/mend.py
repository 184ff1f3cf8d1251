"""Mend what differs from Stripe: collect and send what it lacks, take back within a day what it has too much of."""

from datetime import timedelta
from typing import Final

import asyncpg
import msgspec
import structlog

from tallystick.base.database import load_queries
from tallystick.ledger import audit
from tallystick.payments.errors import PaymentRefused
from tallystick.payments.meters.bucket import HOUR
from tallystick.payments.meters.collect import collect_one
from tallystick.payments.meters.compare import Comparison
from tallystick.payments.meters.send import send, units_at
from tallystick.payments.meters.written import Written
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.meter import cancel_event, meters_by_event

TAKEN_BACK: Final = timedelta(hours=24)
"""Stripe takes back what it received in the last 24 hours, and nothing older: that is for a credit on the invoice."""

_queries = load_queries(__file__, "mend.sql")
_log = structlog.get_logger()


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    collected: int
    """Reports that were written."""
    sent: int
    """Reports that Stripe is now known to have."""
    canceled: int
    """Reports that were taken back."""


async def mend_one(
    pool: asyncpg.Pool, stripe: StripeClient, organization: str, comparison: Comparison, *, by: str
) -> Mended:
    """Mend what can be; compare again to see what is left. Safe beside the jobs that do the same."""
    again = [one.report for one in comparison.differences if one.cause in {"refused", "missing"}]
    await _queries.send_again(pool, ids=[id_ for id_ in again if id_ is not None])
    canceled = await _resume(pool, stripe, organization, by)
    for difference in comparison.differences:
        if difference.cause == "told_too_much":
            await _queries.mark(
                pool,
                organization=organization,
                livemode=stripe.livemode,
                meter=difference.meter,
                from_at=difference.hour,
                to_at=difference.hour + HOUR,
                within=TAKEN_BACK,
                excess=-difference.units,
            )
    canceled += await _resume(pool, stripe, organization, by)
    async with pool.acquire() as connection:
        collected = await collect_one(connection, organization, livemode=stripe.livemode, all_=True)
    return Mended(collected=collected, sent=await send(pool, stripe), canceled=canceled)


async def _resume(pool: asyncpg.Pool, stripe: StripeClient, organization: str, by: str) -> int:
    """Take back what is marked so, by this run or by one that was cut off."""
    rows = [row async for row in _queries.marked(pool, organization=organization, livemode=stripe.livemode)]
    reports = [msgspec.convert(dict(row), Written) for row in rows]
    done = 0
    for report in reports:
        if await _take_back(stripe, report):
            done += await _note_canceled(pool, organization, report, by)
        else:
            await _queries.unmark(pool, id=report.id)
    return done


async def _note_canceled(pool: asyncpg.Pool, organization: str, report: Written, by: str) -> bool:
    """False where another has noted it."""
    async with pool.acquire() as connection, connection.transaction():
        if await _queries.canceled(connection, id=report.id) is None:
            return False
        await audit.record(
            connection,
            "usage_report.taken_back",
            by=by,
            subject=report.identifier,
            organization=organization,
            before={"event_name": report.event_name, "units": report.units, "counts_at": report.counts_at},
            after=None,
        )
    return True


async def _take_back(stripe: StripeClient, report: Written) -> bool:
    """False where Stripe keeps it. Raises PaymentPending where nobody knows; the mark stays."""
    try:
        await cancel_event(stripe, report.event_name, report.identifier)
    except PaymentRefused:
        # It may have been taken back by an attempt whose answer was lost.
        kept = await units_at(stripe, await meters_by_event(stripe), report.event) > 0
        if kept:
            _log.error("meter_report_not_taken_back", identifier=report.identifier, units=report.units)
        return not kept
    return True
