"""A refusal as an HTTP answer: its status, its headers, its JSON body. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from tallystick.base.errors import QuotaExceeded, RateLimited, TallystickError, Unavailable
from tallystick.quotas.use import FeatureUsage


def refusal_body(error: TallystickError) -> dict[str, object]:
    """The code to act on, a sentence to read, and the error's own details."""
    return {"error": {"code": error.code, "message": error.message, **error.details}}


def refusal_headers(error: TallystickError, now: datetime) -> dict[str, str]:
    """When to come back, where that is known, and how a quota stands."""
    if isinstance(error, RateLimited | Unavailable):
        return {"retry-after": str(error.retry_after)}
    if not isinstance(error, QuotaExceeded):
        return {}
    found = quota_headers(FeatureUsage(used=error.used, limit=error.limit, remaining=error.remaining), error.retry_at)
    if error.retry_at is not None:
        # Whole seconds, rounded up: who waits that long is not early.
        found["retry-after"] = str(max(1, -((now - error.retry_at) // timedelta(seconds=1))))
    return found


def quota_headers(usage: FeatureUsage, resets_at: datetime | None) -> dict[str, str]:
    """An unlimited feature has only what is used of it."""
    found: Mapping[str, object] = {
        "x-quota-limit": usage.limit,
        "x-quota-used": usage.used,
        "x-quota-remaining": usage.remaining,
        "x-quota-reset": None if resets_at is None else resets_at.isoformat().replace("+00:00", "Z"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}
