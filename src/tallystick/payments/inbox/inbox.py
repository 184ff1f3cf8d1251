"""The webhook inbox: every event is verified, stored, and only then acted on, once."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg
import structlog
from prometheus_client import Counter

from tallystick.base.database import AWAY, load_queries
from tallystick.ledger.audit import ORIGIN
from tallystick.payments.ending import Ending
from tallystick.payments.errors import BadWebhook, UnreadableEvent, WebhookClosed
from tallystick.payments.follower import Follower, Outdated
from tallystick.payments.inbox.event import Header, read_header, read_payment
from tallystick.payments.inbox.followers import FOLLOWERS
from tallystick.payments.orders.settle import settle
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.signature import verify_signature

_log = structlog.get_logger()
_queries = load_queries(__file__, "inbox.sql")

Act = Callable[[asyncpg.Connection, str, bytes], Awaitable[Ending]]
_followers = {event_type: follower for follower in FOLLOWERS for event_type in follower.types}

# How many waiting events one pass takes: a pass must end, so that a stop is never kept waiting.
_PASS_MAX: Final = 100
_REASON_MAX: Final = 500
_LOOKS_MAX: Final = 5

_events = Counter("tallystick_webhook_events", "Stripe events, by how they ended", ["state"])
_quarantined = Counter("tallystick_webhook_quarantined", "Stripe events that a person must look at")


class Inbox:
    """`livemode` says which mode this installation is paid in; None accepts what each order was made in. Without
    `stripe` nothing can be read again: events about what must be are set aside for a person."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        secrets: Sequence[str],
        livemode: bool | None,
        stripe: StripeClient | None = None,
    ) -> None:
        self._pool = pool
        self._stripe = stripe
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
        origin = ORIGIN.set(f"stripe {event_id}")
        try:
            return await self._process(event_id)
        except Outdated as error:
            # Many events of one object came at once, and each that was faster wrote more than this one had seen.
            _log.info("webhook_overtaken", stripe_event=event_id, problem=str(error))
            await self._postpone(event_id)
            return False
        # All of it: the event is stored, so it is safe to go on, and whatever one event raises (the database away, a
        # defect of ours) must neither keep the others waiting nor stop the loop that retries.
        except Exception:  # noqa: BLE001 - a boundary, see above; logged with its traceback
            _log.exception("webhook_processing_failed", stripe_event=event_id)
            await self._postpone(event_id)
            return False
        finally:
            ORIGIN.reset(origin)

    async def _postpone(self, event_id: str) -> None:
        try:
            await _queries.postpone(self._pool, id=event_id)
        except AWAY as error:
            _log.warning("webhook_not_postponed", stripe_event=event_id, problem=str(error))

    async def _process(self, event_id: str) -> bool:
        """Act on one event in one transaction, under a lock on its row; False when that was done already."""
        act: Act = self._act
        event = await _queries.find_open(self._pool, id=event_id)
        follower = None if event is None else _followers.get(event["type"])
        if follower is not None and not follower.concerns(bytes(event["body"])):
            follower = None
        if follower is not None:
            act = await self._follow(follower, bytes(event["body"]))
        for _ in range(_LOOKS_MAX):
            with suppress(Outdated):
                return await self._finish(event_id, act)
            if follower is not None:
                act = await self._follow(follower, bytes(event["body"]))
        raise Outdated(f"event {event_id} was looked at {_LOOKS_MAX} times, and others were faster each time")

    async def _finish(self, event_id: str, act: Act) -> bool:
        async with self._pool.acquire() as connection, connection.transaction():
            row = await _queries.lock_open(connection, id=event_id)
            if row is None:
                return False
            state, reason = await act(connection, row["type"], bytes(row["body"]))
            # Words of the event may stand in the reason, and text in PostgreSQL cannot hold a NUL.
            reason = reason and reason.replace("\0", " ")[:_REASON_MAX]
            await _queries.finish(connection, id=event_id, state=state, reason=reason)
        _events.labels(state).inc()
        if state == "quarantined":
            _quarantined.inc()
            _log.error("webhook_quarantined", stripe_event=event_id, type=row["type"], reason=reason)
        return True

    async def _follow(self, follower: Follower[Any], body: bytes) -> Act:
        """Look at Stripe's object, with no transaction open, and say what is to be done with what was seen."""
        try:
            reason = self._not_ours(read_header(body))
        except UnreadableEvent as error:
            reason = str(error)
        if reason is None and self._stripe is None:
            reason = "this server has no STRIPE_API_KEY to read again what it is about"
        if reason is not None or self._stripe is None:
            return _constantly(("quarantined", reason))
        try:
            seen = await follower.read(self._pool, self._stripe, body)
        except UnreadableEvent as error:
            return _constantly(("quarantined", str(error)))
        if seen is None:
            return _constantly(("ignored", None))

        async def apply(connection: asyncpg.Connection, _type: str, _body: bytes) -> Ending:
            return await follower.apply(connection, seen)

        return apply

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
        return await settle(connection, payment, payment.order_id, livemode=header.livemode, by_event=True)

    def _not_ours(self, header: Header) -> str | None:
        """Why no event of this origin may move money here."""
        if header.account is not None:
            return f"it belongs to the connected account {header.account}"
        if self._livemode is not None and header.livemode != self._livemode:
            return f"livemode {header.livemode} where this server's key has {self._livemode}"
        return None


def _constantly(ending: Ending) -> Act:
    async def act(_connection: asyncpg.Connection, _type: str, _body: bytes) -> Ending:
        return ending

    return act
