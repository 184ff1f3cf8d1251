"""Fetch the events whose webhooks never came, so that a payment is credited even when Stripe could not reach us."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from tallystick.payments.errors import UnreadableEvent
from tallystick.payments.inbox.event import TYPES, read_header
from tallystick.payments.inbox.followers import FOLLOWERS
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.events import events_since

_log = structlog.get_logger()

_TYPES: Final = (*TYPES, *(event_type for follower in FOLLOWERS for event_type in follower.types))


async def fetch_missed(inbox: Inbox, stripe: StripeClient, since: datetime) -> int:
    """Store and process every event about payments since `since`; how many were done that were not done before."""
    return await take_fetched(inbox, await events_since(stripe, since, _TYPES))


async def take_fetched(inbox: Inbox, bodies: Sequence[bytes]) -> int:
    """Store and process events that came over our own connection to Stripe, and so need no signature."""
    for body in bodies:
        try:
            header = read_header(body)
        except UnreadableEvent as error:
            # Without an id it cannot be stored; the others must not wait for it.
            _log.error("missed_event_unreadable", problem=str(error))
            continue
        await inbox.store(header, body)
    return await inbox.process_open()
