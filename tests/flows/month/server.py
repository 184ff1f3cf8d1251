"""The process of ours that lives through the month: the whole web application, and the upkeep with jobs at haste."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

import asyncpg
import httpx
import stripe

from tallystick.app import worker
from tallystick.app.logs import configure
from tallystick.app.maintenance import Job, Maintenance
from tallystick.app.startup import Startup, decode
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.inbox.missed import fetch_missed
from tallystick.payments.meters.collect import collect
from tallystick.payments.meters.send import send
from tallystick.payments.stripe.client import StripeClient

# Those that ask Stripe by its clock, which is another one than ours until the last day.
_BY_STRIPES_CLOCK = {"missed webhooks", "reconciliation", "usage for Stripe", "usage at Stripe"}
_EVERY_S = 1.0
DAY_LOCK = 0x6D6F6E7468
"""Whoever makes Stripe's clock go on has it alone."""


def hurry() -> None:
    """The SDK tries again as often as it would, with hardly a pause: thousands of calls fail in a month."""
    http: Any = stripe.HTTPClient
    http.INITIAL_DELAY, http.MAX_DELAY = 0.01, 0.05


class Hasty(Maintenance):
    """A day at Stripe passes only while no job is at work: none of them would take so long."""

    async def __aenter__(self) -> Self:
        self._days = await asyncpg.create_pool(self._dsn, min_size=1, max_size=30)
        self._stack.push_async_callback(self._days.close)
        return await super().__aenter__()

    def _jobs(self, pool: asyncpg.Pool) -> list[Job]:
        usual = [replace(job, every_s=_EVERY_S) for job in super()._jobs(pool) if job.name not in _BY_STRIPES_CLOCK]
        settings = self._settings
        client = StripeClient(settings.stripe_api_key or "", api_base=settings.stripe_api_base)
        inbox = Inbox(pool, secrets=settings.listed("stripe_webhook_secret"), livemode=False, stripe=client)
        self._stack.push_async_callback(client.close)
        clock = Clock(settings.stripe_api_base or "")

        async def usage() -> None:
            await collect(pool, livemode=False, now=await clock.now())
            await send(pool, client)

        async def missed() -> None:
            await fetch_missed(inbox, client, await clock.now() - timedelta(hours=2))

        jobs = [*usual, Job("usage", 1.0, usage), Job("missed", 20.0, missed)]
        return [replace(job, work=partial(self._within_a_day, job.work)) for job in jobs]

    async def _within_a_day(self, work: Callable[[], Awaitable[object]]) -> None:
        async with self._days.acquire() as connection:
            await connection.execute("select pg_advisory_lock_shared($1)", DAY_LOCK)
            try:
                await work()
            finally:
                await connection.execute("select pg_advisory_unlock_shared($1)", DAY_LOCK)


class Clock:
    """Stripe's."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def now(self) -> datetime:
        async with httpx.AsyncClient() as client:
            answer: Any = (await client.post(f"{self._address}/_sandbox/clock", json={"advance_s": 0})).json()
        return datetime.fromtimestamp(answer["now"], UTC)


async def _run(startup: Startup) -> None:
    configure(startup.settings.log_level, startup.settings.log_format)
    hurry()
    async with Hasty(startup.settings, startup.dsn):
        await worker.run(startup)


if __name__ == "__main__":
    asyncio.run(_run(decode(sys.stdin.buffer.readline())))
