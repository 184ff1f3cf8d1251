"""The events that Stripe keeps, for those whose webhooks never came."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors

_PAGE: Final = 100


async def events_since(stripe: StripeClient, since: datetime, types: Sequence[str]) -> list[bytes]:
    """The events of these types from `since` on, as webhook bodies, oldest first. Stripe keeps them for 30 days."""
    with known_errors():
        page = await stripe.v1.events.list_async(
            {"created": {"gte": int(since.timestamp())}, "types": list(types), "limit": _PAGE}
        )
        found = [msgspec.json.encode(event.to_dict()) async for event in page.auto_paging_iter()]
    return found[::-1]
