"""The webhook inbox: every event is verified, stored, and only then acted on, once."""

from collections.abc import Sequence
from typing import Final, Literal

import asyncpg
import structlog
from prometheus_client import Counter

from tallystick.base.database import AWAY, load_queries
from tallystick.base.errors import Conflict
from tallystick.base.ids import is_text_id
from tallystick.payments.errors import BadWebhook, WebhookClosed
from tallystick.payments.inbox.event import Header, Payment, UnreadableEvent, read_header, read_payment
from tallystick.payments.inbox.match import mismatch
from tallystick.payments.orders.credit import credit
from tallystick.payments.orders.order import Order, lock, mark_unpaid
from tallystick.payments.stripe.signature import verify_signature

_log = structlog.get_logger()
_queries = load_queries(__file__, "inbox.sql")

EventState = Literal["processed", "ignored", "quarantined"]
Ending = tuple[EventState, str | None]

# How many waiting events one pass takes: a pass must end, so that a stop is never kept waiting.
_PASS_MAX: Final = 100
_REASON_MAX: Final = 500
# What a database that is away, restarting or overloaded raises; InternalClientError on a connection that just died.

_events = Counter("tallystick_webhook_events", "Stripe events, by how they ended", ["state"])
_quarantined = Counter("tallystick_webhook_quarantined", "Stripe events that a person must look at")


class Inbox:
    """`livemode` says which mode this installation is paid in; None accepts what each order was made in."""

    def __init__(self, pool: asyncpg.Pool, *, secrets: Sequence[str], livemode: bool | None) -> None:
        self._pool = pool
        self._secrets = tuple(secrets)
        self._livemode = livemode

    async def receive(self, body: bytes, signature: str | None) -> None:
        """Take one webhook. When this returns the event is on disk: it is acted on now or, if that fails, later.

        Raises WebhookClosed, BadWebhook, or what the database raises when the event could not be stored."""
        if not self._secrets:
            raise WebhookClosed("This server takes no webhooks: its operator has set no signing secret.", 60)
        verify_signature(body, signature, self._secrets)
        try:
            header = read_header(body)
        except UnreadableEvent as error:
            raise BadWebhook("The body is not a Stripe event.") from error
        await self.store(header, body)
        await self._try(header.id)

    async def store(self, header: Header, body: bytes) -> None:
        """Keep an event that is known to come from Stripe. One of the same id is there already: nothing changes."""
        await _queries.store(self._pool, id=header.id, type=header.type, body=body, livemode=header.livemode)

    async def process_open(self) -> int:
        """Act on what is stored and due but not done; how many events were done. Run it again and again: it is what
        turns an event that could not be processed into one that was late."""
        due = [row["id"] async for row in _queries.due(self._pool, most=_PASS_MAX)]
        done = [await self._try(event_id) for event_id in due]
        return sum(done)

    async def _try(self, event_id: str) -> bool:
        try:
            return await self._process(event_id)
        # All of it: the event is stored, so it is safe to go on, and whatever one event raises (the database away, a
        # defect of ours) must neither keep the others waiting nor stop the loop that retries.
        except Exception:  # noqa: BLE001 - a boundary, see above; logged with its traceback
            _log.exception("webhook_processing_failed", stripe_event=event_id)
            await self._postpone(event_id)
            return False

    async def _postpone(self, event_id: str) -> None:
        try:
            await _queries.postpone(self._pool, id=event_id)
        except AWAY as error:
            _log.warning("webhook_not_postponed", stripe_event=event_id, problem=str(error))

    async def _process(self, event_id: str) -> bool:
        """Act on one event in one transaction, under a lock on its row; False when that was done already."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await _queries.lock_open(connection, id=event_id)
            if row is None:
                return False
            state, reason = await self._act(connection, row["type"], bytes(row["body"]))
            # Words of the event may stand in the reason, and text in PostgreSQL cannot hold a NUL.
            reason = reason and reason.replace("\0", " ")[:_REASON_MAX]
            await _queries.finish(connection, id=event_id, state=state, reason=reason)
        _events.labels(state).inc()
        if state == "quarantined":
            _quarantined.inc()
            _log.error("webhook_quarantined", stripe_event=event_id, type=row["type"], reason=reason)
        return True

    async def _act(self, connection: asyncpg.Connection, event_type: str, body: bytes) -> Ending:
        try:
            header, payment = read_header(body), read_payment(event_type, body)
        except UnreadableEvent as error:
            return "quarantined", str(error)
        if payment is None:
            return "ignored", None
        if (reason := self._not_ours(header)) is not None:
            return "quarantined", reason
        if payment.order_id is None:
            # The Stripe account may sell other things, too. What names a user of ours claims to be ours.
            claims = payment.user_id is not None or payment.organization is not None
            return ("quarantined", "it names no order") if claims else ("ignored", "not a purchase of credits")
        return await _settle(connection, payment, payment.order_id, header.livemode)

    def _not_ours(self, header: Header) -> str | None:
        """Why no event of this origin may move money here."""
        if header.account is not None:
            return f"it belongs to the connected account {header.account}"
        if self._livemode is not None and header.livemode != self._livemode:
            return f"livemode {header.livemode} where this server's key has {self._livemode}"
        return None


async def _settle(connection: asyncpg.Connection, payment: Payment, order_id: str, livemode: bool) -> Ending:
    """Do to the order what the payment says, if it is this order's payment in every field."""
    order = await lock(connection, order_id) if is_text_id(order_id) else None
    if order is None:
        return "quarantined", f"there is no order {order_id}"
    customer = await _queries.customer(connection, organization=order.organization, livemode=order.livemode)
    if (reason := mismatch(payment, order, customer, livemode=livemode)) is not None:
        return "quarantined", reason
    return await _apply(connection, order, payment)


async def _apply(connection: asyncpg.Connection, order: Order, payment: Payment) -> Ending:
    """What a matched payment does to its locked order."""
    match payment.outcome:
        case "paid" if payment.payment_intent is not None:
            try:
                async with connection.transaction():
                    await credit(connection, order, payment.payment_intent)
            except (Conflict, asyncpg.UniqueViolationError) as error:
                # The order's operation is in the books with other content, or this payment credited another order.
                return "quarantined", f"the books refuse it: {error}"
        case "expired" | "failed":
            await mark_unpaid(connection, order, payment.outcome)
    return "processed", None
