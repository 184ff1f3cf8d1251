"""When something that failed is tried again, and when no more. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

DELAYS: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 30, 2 * 60, 10 * 60, 30 * 60, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 24 * 3600)
)
"""Between the attempts of a webhook: about three days in all, as long as Stripe goes on."""

MAIL_DELAYS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 2 * 60, 4 * 60, 8 * 60, 8 * 60))
"""Between the attempts of a mail: about a day."""

_WAIT_MAX: Final = timedelta(hours=24)
_JITTER_PERCENT: Final = 20


def next_delay(
    attempts: int, jitter: int, asked: timedelta | None = None, delays: Sequence[timedelta] = DELAYS
) -> timedelta | None:
    """How long to wait after so many attempts failed; None when that was the last one.

    `jitter` is 0 to 99, drawn by chance, and adds up to a fifth, so that what failed together does not come back
    together. `asked` is what the receiver said with Retry-After: it can make the wait longer, not shorter."""
    if attempts > len(delays):
        return None
    delay = delays[attempts - 1]
    delay += delay * jitter * _JITTER_PERCENT // 10_000
    return max(delay, min(asked, _WAIT_MAX)) if asked is not None else delay


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """What a Retry-After header asks for, as seconds or as a date; None where there is none that can be understood."""
    if header is None or len(header) > 100 or not header.isascii():
        return None
    if header.strip().isdigit():
        return min(timedelta(seconds=int(header.strip()[:9])), _WAIT_MAX)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at.replace(tzinfo=at.tzinfo or UTC)
    return max(timedelta(0), min(at - now, _WAIT_MAX))
