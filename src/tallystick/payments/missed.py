"""Fetch the events whose webhooks never came, so that a payment is credited even when Stripe could not reach us."""

from datetime import datetime

import structlog

from tallystick.payments.event import TYPES, UnreadableEvent, read_header
from tallystick.payments.inbox import Inbox
from tallystick.payments.stripe_client import StripeClient

_log = structlog.get_logger()


async def fetch_missed(inbox: Inbox, stripe: StripeClient, since: datetime) -> int:
    """Store and process every event about payments since `since`; how many were done that were not done before.

    They come over our own connection to Stripe, so they need no signature."""
    for body in await stripe.events_since(since, TYPES):
        try:
            header = read_header(body)
        except UnreadableEvent as error:
            # Without an id it cannot be stored; the others must not wait for it.
            _log.error("missed_event_unreadable", problem=str(error))
            continue
        await inbox.store(header, body)
    return await inbox.process_open()
