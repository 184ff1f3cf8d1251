"""Compare all that Stripe says with orders, invoices and the books; mend what can be mended, list what cannot, and why.

It may run at any time, twice, on two hosts, during traffic. What it mends it mends by the very code that the webhooks
run, which does everything once. What seems to differ because it is happening right now is looked at again.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import msgspec
import structlog
from prometheus_client import Gauge

from tallystick.payments.billing.follow import bring_up_to_date
from tallystick.payments.ending import Ending
from tallystick.payments.errors import PaymentRefused
from tallystick.payments.follower import Outdated
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.inbox.missed import fetch_missed
from tallystick.payments.reconcile import difference, movements
from tallystick.payments.reconcile.difference import Difference, Waiting, as_it_stands, queries
from tallystick.payments.reconcile.foreign import note_foreign
from tallystick.payments.refunds import follow as refunds
from tallystick.payments.refunds.bring import UnderWay
from tallystick.payments.stripe.balance import movements_since, read_balance
from tallystick.payments.stripe.changed import Listed, invoice_paid_by, listed_since
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.payment_intent import StripePayment, read_payment_intent

_ROUNDS_MAX: Final = 3
_CHUNK: Final = 100
# Stripe keeps events for so long.
_EVENTS_KEPT: Final = timedelta(days=30)
# A dispute comes late, a refund fails late: what was clean once is looked at again for so long.
OVERLAP: Final = timedelta(days=3)

_log = structlog.get_logger()
_left = Gauge(
    "tallystick_reconcile_differences", "Differences that the last reconciliation left", multiprocess_mode="mostrecent"
)


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """`mended` names the payments and customers that were brought up to date, `held_minor` what Stripe holds; `waiting`
    is under way, and no difference yet."""

    since: datetime | None
    events_fetched: int
    movements: int
    mended: list[str]
    differences: list[Difference]
    waiting: list[Waiting]
    held_minor: int


async def reconcile(
    pool: asyncpg.Pool,
    stripe: StripeClient,
    inbox: Inbox,
    *,
    since: datetime | None,
    progress: Callable[[str], None] = lambda _: None,
) -> Reconciliation:
    """Everything from `since` on, or ever. Raises PaymentPending, PaymentRefused when Stripe cannot be asked."""
    began = datetime.now(UTC)
    progress("Fetching events whose webhooks never came")
    oldest = began - _EVENTS_KEPT
    fetched = await fetch_missed(inbox, stripe, oldest if since is None else max(since, oldest))
    progress("Comparing payments, refunds, disputes, subscriptions and invoices")
    run = _Run(pool, stripe)
    await run.look_at_unknown(since)
    moved, found = 0, list[Difference]()
    for round_ in range(_ROUNDS_MAX):
        progress("Comparing the movements of Stripe's balance")
        # A movement is listed a moment after its cause: a second round asks for the latest ones again.
        moved += await movements.keep(
            pool,
            movements_since(stripe, since if round_ == 0 else began - timedelta(hours=1)),
            livemode=stripe.livemode,
        )
        found = await run.differences(since)
        # What waits is looked at once: what it waits for may have come.
        if not found or (round_ and all(isinstance(run.as_it_stands(one, began), Waiting) for one in found)):
            break
        for payment in sorted({payment for one in found for payment in one.payment_intents}):
            await run.look_at_payment(payment)
    held_minor = sum((await read_balance(stripe)).values())
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        found = await difference.money(connection, livemode=stripe.livemode, since=since)
        stand = [run.as_it_stands(one, began) for one in found]
        waiting = [one for one in stand if isinstance(one, Waiting)]
        found = [one for one in stand if isinstance(one, Difference)]
        found += await difference.clearing(connection, livemode=stripe.livemode, held_minor=held_minor, found=stand)
        found += await difference.set_aside(connection, livemode=stripe.livemode, since=since)
    result = Reconciliation(
        since=since,
        events_fetched=fetched,
        movements=moved,
        mended=sorted(run.mended),
        differences=found,
        waiting=waiting,
        held_minor=held_minor,
    )
    await _keep(pool, result, began, livemode=stripe.livemode)
    return result


async def reconcile_newest(
    pool: asyncpg.Pool, stripe: StripeClient, inbox: Inbox, *, progress: Callable[[str], None] = lambda _: None
) -> Reconciliation:
    """What the last clean run has not seen yet, and some days before that; everything where there was none."""
    last: datetime | None = await queries.last_clean(pool, livemode=stripe.livemode)
    since = None if last is None else last - OVERLAP
    return await reconcile(pool, stripe, inbox, since=since, progress=progress)


async def reconcile_daily(pool: asyncpg.Pool, stripe: StripeClient, inbox: Inbox) -> None:
    """For the upkeep, which asks often: at most one run in a day."""
    if not await queries.ran_lately(pool, livemode=stripe.livemode):
        await reconcile_newest(pool, stripe, inbox)


class _Run:
    """One run, and what it mended."""

    def __init__(self, pool: asyncpg.Pool, stripe: StripeClient) -> None:
        self._pool = pool
        self._stripe = stripe
        self.mended: set[str] = set()
        self._processing: set[str] = set()

    async def look_at_unknown(self, since: datetime | None) -> None:
        """Bring up to date whatever Stripe lists and does not stand here as it stands there."""
        chunk: list[Listed] = []
        async for listed in listed_since(self._stripe, since):
            chunk.append(listed)
            if len(chunk) == _CHUNK:
                await self._look_at(chunk)
                chunk = []
        await self._look_at(chunk)

    async def _look_at(self, chunk: list[Listed]) -> None:
        fields = {name: [getattr(one, name) for one in chunk] for name in Listed.__struct_fields__}
        known = {row["id"] async for row in queries.known(self._pool, **fields)}
        unknown = [one for one in chunk if one.id not in known]
        for payment in sorted({one.payment_intent for one in unknown if one.payment_intent is not None}):
            await self.look_at_payment(payment)
        billed = [one for one in unknown if one.what in {"subscription", "invoice"} and one.customer is not None]
        customers = [one.customer for one in billed]
        ours = await self._ours(customers)
        for one in billed:
            if one.customer in ours:
                await self._look_at_customer(str(one.customer), one.id if one.what == "invoice" else None)

    async def look_at_payment(self, payment: str) -> None:
        """Bring the order, or the invoice, of a payment up to date."""
        try:
            seen = await refunds.look(self._stripe, payment)
            if seen is not None:
                self._note_status(seen.payment)
                async with self._pool.acquire() as connection, connection.transaction():
                    self._note(payment, await refunds.apply(connection, seen))
                return
            read = await read_payment_intent(self._stripe, payment)
            self._note_status(read)
            customer = read.customer
            if customer is None or not await self._ours([customer]):
                await note_foreign(self._pool, payment, reason="it names neither an order nor a customer of ours")
                return
            invoice = await invoice_paid_by(self._stripe, payment)
            if invoice is not None:
                await self._look_at_customer(customer, invoice)
                paid = await refunds.look_at_invoice(self._stripe, payment, invoice)
                if paid.refunds or paid.disputes:
                    async with self._pool.acquire() as connection, connection.transaction():
                        self._note(payment, await refunds.apply(connection, paid))
        except (PaymentRefused, refunds.NotBooked, UnderWay) as error:
            # One that cannot be looked at now stays a difference; the others are not to wait for it.
            _log.warning("payment_not_looked_at", payment=payment, reason=error.message)

    def as_it_stands(self, found: Difference, now: datetime) -> Difference | Waiting:
        return as_it_stands(found, processing=self._processing, now=now)

    async def differences(self, since: datetime | None) -> list[Difference]:
        await movements.book(self._pool, livemode=self._stripe.livemode)
        async with self._pool.acquire() as connection:
            return await difference.money(connection, livemode=self._stripe.livemode, since=since)

    async def _look_at_customer(self, customer: str, invoice: str | None) -> None:
        try:
            ending = await bring_up_to_date(self._pool, self._stripe, customer, invoice=invoice)
        except Outdated:
            # Others are bringing it up to date right now, again and again.
            _log.warning("customer_not_looked_at", customer=customer, reason="others were faster each time")
            return
        self._note(invoice or customer, ending)

    async def _ours(self, customers: Sequence[str | None]) -> set[str]:
        rows = queries.customers(self._pool, ids=customers, livemode=self._stripe.livemode)
        return {row["id"] async for row in rows}

    def _note_status(self, payment: StripePayment) -> None:
        if payment.status == "processing":
            self._processing.add(payment.id)
        else:
            self._processing.discard(payment.id)

    def _note(self, what: str, ending: Ending) -> None:
        state, reason = ending
        if state == "processed":
            self.mended.add(what)
        elif state == "quarantined":
            _log.error("reconcile_cannot_mend", what=what, reason=reason)


async def _keep(pool: asyncpg.Pool, result: Reconciliation, began: datetime, *, livemode: bool) -> None:
    await queries.store(
        pool,
        livemode=livemode,
        since=result.since,
        began_at=began,
        events_fetched=result.events_fetched,
        movements=result.movements,
        mended=msgspec.json.encode(result.mended).decode(),
        differences=msgspec.json.encode(result.differences).decode(),
        waiting=msgspec.json.encode(result.waiting).decode(),
    )
    _left.set(len(result.differences))
    for one in result.differences:
        _log.error("reconcile_difference", **msgspec.structs.asdict(one))
    for waiting in result.waiting:
        _log.info("reconcile_waiting", **msgspec.structs.asdict(waiting))
