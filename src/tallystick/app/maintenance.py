"""The upkeep of the books, in the supervisor: every job may run at any time, twice, on several hosts at once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self, cast

import asyncpg
import structlog

from tallystick.base.database import AWAY, open_pool
from tallystick.base.errors import TallystickError
from tallystick.base.sealed import Sealer
from tallystick.gateway.recover import settle_orphans
from tallystick.ledger.audit import ORIGIN
from tallystick.ledger.lot import expire_due
from tallystick.ledger.partitions import ensure_partitions
from tallystick.ledger.seal import seal
from tallystick.notices.delivery import match_notices
from tallystick.notices.fence import Fence
from tallystick.notices.prune import prune_notices
from tallystick.notices.send import Sender
from tallystick.notices.send_mail import send_mails
from tallystick.notices.smtp import parse_url
from tallystick.payments.billing.checkout import close_superseded
from tallystick.payments.debts.collect import collect_due
from tallystick.payments.debts.debt import DISPUTE_POLICY, Policy
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.inbox.missed import fetch_missed
from tallystick.payments.meters.upkeep import compare_nightly, report_usage
from tallystick.payments.orders.balance_alert import tell_low_balances
from tallystick.payments.orders.charge_top_up import top_up_due
from tallystick.payments.orders.end_unpaid import expire_unpaid
from tallystick.payments.orders.purchase_terms import PurchaseTerms
from tallystick.payments.provision import provision_customers
from tallystick.payments.reconcile.reconcile import reconcile_daily
from tallystick.payments.refunds.ask import ask_open
from tallystick.payments.rename import rename_customers
from tallystick.payments.stripe.client import StripeClient
from tallystick.quotas.prune import prune_uses
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.sweep import Sweeper
from tallystick.settings import Settings
from tallystick.subscriptions.keep_current import keep_current

log = structlog.get_logger()

# The database is away, or slow, or refuses for now: the next round tries again.
_PASSING: Final = (*AWAY, TallystickError)
_WEBHOOKS_COME_FOR: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    every_s: float
    work: Callable[[], Awaitable[object]]


class Maintenance:
    """`async with Maintenance(settings, dsn):` runs the jobs meanwhile."""

    def __init__(self, settings: Settings, dsn: str) -> None:
        self._settings = settings
        self._dsn = dsn
        self._lanes = Lanes(dsn)
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        pool = await self._stack.enter_async_context(
            await open_pool(self._dsn, size_max=4, application="tallystick-upkeep")
        )
        DISPUTE_POLICY.set(cast("Policy", self._settings.debt_policy))
        await self._lanes.start()
        self._stack.push_async_callback(self._lanes.stop)
        self._tasks = [asyncio.create_task(_repeat(job), name=f"upkeep-{job.name}") for job in self._jobs(pool)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    def _jobs(self, pool: asyncpg.Pool) -> list[Job]:
        key, secrets = self._settings.stripe_api_key, self._settings.listed("stripe_webhook_secret")
        stripe = StripeClient(key, api_base=self._settings.stripe_api_base) if key else None
        inbox = Inbox(pool, secrets=secrets, livemode=None if stripe is None else stripe.livemode, stripe=stripe)

        sweeper = Sweeper(pool)

        async def sweep() -> None:
            swept = await sweeper.sweep()
            if swept.orphans:
                await settle_orphans(self._lanes, swept.orphans)

        async def partitions() -> None:
            async with pool.acquire() as connection:
                await ensure_partitions(connection)

        jobs = [
            Job("sealing", 1.0, lambda: seal(pool)),
            Job("open holds", 5.0, sweep),
            Job("expired lots", 1.0, lambda: expire_due(pool, datetime.now(UTC))),
            Job("webhook inbox", 5.0, inbox.process_open),
            Job("subscriptions", 1.0, lambda: keep_current(pool)),
            Job("partitions", 3600.0, partitions),
            Job("old uses", 600.0, lambda: prune_uses(pool)),
            *self._notices(pool),
            Job("unpaid orders", 600.0, lambda: expire_unpaid(pool)),
            Job("debts", 5.0, lambda: collect_due(pool)),
            Job("low balances", 5.0, lambda: tell_low_balances(pool)),
        ]
        if stripe is not None:
            self._stack.push_async_callback(stripe.close)
            terms = PurchaseTerms(public_url=self._settings.address)
            jobs.append(Job("top-ups", 5.0, lambda: top_up_due(pool, stripe, terms)))
            jobs.append(Job("checkout pages of no use", 5.0, lambda: close_superseded(pool, stripe)))
            jobs.append(Job("refunds without an answer", 10.0, lambda: ask_open(pool, stripe)))
            jobs.append(Job("missed webhooks", 600.0, Missed(inbox, stripe).fetch))
            jobs.append(Job("reconciliation", 600.0, lambda: reconcile_daily(pool, stripe, inbox)))
            jobs.append(Job("usage for Stripe", 300.0, lambda: report_usage(pool, stripe)))
            jobs.append(Job("usage at Stripe", 86_400.0, lambda: compare_nightly(pool, stripe)))
            jobs.append(Job("customers at Stripe", 1.0, lambda: provision_customers(pool, stripe)))
            jobs.append(Job("names at Stripe", 5.0, lambda: rename_customers(pool, stripe)))
        return jobs

    def _notices(self, pool: asyncpg.Pool) -> list[Job]:
        settings = self._settings
        jobs = [
            Job("notices", 1.0, lambda: match_notices(pool)),
            Job("old notices", 600.0, lambda: prune_notices(pool)),
        ]
        if settings.sealing_keys:
            fence = Fence(loopback=settings.webhooks_to_loopback)
            sender = Sender(pool, Sealer.parse(settings.sealing_keys), fence)
            self._stack.push_async_callback(sender.stop)
            jobs.append(Job("webhooks", 1.0, sender.send_due))
        if settings.smtp_url and settings.mail_from:
            server, mail_from = parse_url(settings.smtp_url), settings.mail_from
            jobs.append(Job("mails", 5.0, lambda: send_mails(pool, server, mail_from)))
        return jobs


class Missed:
    """Asks Stripe for the events whose webhooks never came: all that it still sends again, then what is new."""

    def __init__(self, inbox: Inbox, stripe: StripeClient) -> None:
        self._inbox = inbox
        self._stripe = stripe
        self._since = datetime.now(UTC) - _WEBHOOKS_COME_FOR

    async def fetch(self) -> None:
        began = datetime.now(UTC)
        await fetch_missed(self._inbox, self._stripe, self._since)
        # A clock that differs from Stripe's, and an event that is listed late, lie within this.
        self._since = began - timedelta(hours=1)


async def _repeat(job: Job) -> None:
    ORIGIN.set("upkeep")
    while True:
        try:
            await job.work()
        except _PASSING as error:
            log.warning("upkeep failed, trying again", job=job.name, error=repr(error))
        except Exception:
            # A defect of one job, or one bad row, must not end it for good without a word: the others go on, and the
            # log says at every round what is wrong.
            log.exception("upkeep failed here, trying again", job=job.name)
        await asyncio.sleep(job.every_s)
