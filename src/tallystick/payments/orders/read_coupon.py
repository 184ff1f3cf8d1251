"""The coupon of a code that somebody typed; whoever guesses is stopped."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg

from tallystick.accounts import throttle
from tallystick.accounts.throttle import Limit
from tallystick.catalog.book import Book
from tallystick.catalog.document import Coupon

BY_ORGANIZATION: Final = Limit("coupon_organization", 20, 3600)
BY_ADDRESS: Final = Limit("coupon_address", 100, 3600)


async def read_coupon(
    pool: asyncpg.Pool, book: Callable[[], Book], code: str, organization: str, *, address: str | None, now: datetime
) -> Coupon:
    """Raises UnknownCoupon, and RateLimited after too many of those. Right codes are not counted."""
    subjects = [(BY_ORGANIZATION, organization)]
    if address is not None:
        subjects.append((BY_ADDRESS, throttle.network_of(address)))
    for limit, who in subjects:
        await throttle.count(pool, limit, who)
    found = book().coupon(code, now)
    for limit, who in subjects:
        await throttle.take_back(pool, limit, who)
    return found
