"""The events that Stripe keeps, for those whose webhooks never came."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from tallystick.payments.stripe.client import StripeClient, known_errors

_PAGE: Final = 100
_TYPES_MAX: Final = 20


async def events_since(stripe: StripeClient, since: datetime, types: Sequence[str]) -> list[bytes]:
    """The events of these types from `since` on, as webhook bodies, oldest first. Stripe keeps them for 30 days."""
    wanted = list(dict.fromkeys(types))
    found: list[tuple[int, bytes]] = []
    # Stripe takes so many types in one question.
    for first in range(0, len(wanted), _TYPES_MAX):
        asked = wanted[first : first + _TYPES_MAX]
        with known_errors():
            page = await stripe.v1.events.list_async(
                {"created": {"gte": int(since.timestamp())}, "types": asked, "limit": _PAGE}
            )
            found += [(row.created, msgspec.json.encode(row.to_dict())) async for row in page.auto_paging_iter()]
    # Each answer has the newest first; of one second, too.
    found.reverse()
    return [body for _created, body in sorted(found, key=lambda event: event[0])]
