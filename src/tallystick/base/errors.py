"""One error tree. Each error knows its HTTP status, its public code and what the caller can do.

TallystickError
|-- InvalidInput (422)            a field of the request is wrong
|   `-- InvalidAmount
|-- Unauthorized (401)            no, unknown, revoked or expired key, session or token
|-- Forbidden (403)               known, but not allowed
|-- NotFound (404)                also for what belongs to someone else
|-- Conflict (409)                the same id with other content, or a state that forbids it
|-- InsufficientCreditsError (402)
|-- TooLarge (413)
|-- RateLimited (429)             too fast: `retry_after` says when
|-- QuotaExceeded (429)           a limit of the plan is used up: `retry_at` says when that changes
|-- Misconfigured (500)           the operator must change something; the message says what
|-- UpstreamFailed (502)          a provider failed
|   `-- UpstreamTimeout (504)
`-- Unavailable (503)             try again later; nothing was charged
"""

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import ClassVar


class TallystickError(Exception):
    """The base of every expected refusal: `str()` is the public message, `details` goes into the JSON answer."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, object] = dict(details or {})


class InvalidInput(TallystickError):
    """A field of the request is wrong: `field` names it as the caller wrote it."""

    status = 422
    code = "invalid_request"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}", details={"field": field})
        self.field = field


class InvalidAmount(InvalidInput):
    """An amount of money that is not a plain positive decimal number."""

    code = "invalid_amount"


class Unauthorized(TallystickError):
    """No, unknown, revoked or expired key, session or token: one answer for all of them."""

    status = 401
    code = "unauthorized"


class Forbidden(TallystickError):
    """Known, but not allowed to do this."""

    status = 403
    code = "forbidden"


class NotFound(TallystickError):
    """There is no such thing, or it belongs to someone else, which must look the same."""

    status = 404
    code = "not_found"


class Conflict(TallystickError):
    """The same id came with other content, or the thing is in a state that forbids this."""

    status = 409
    code = "conflict"


class InsufficientCreditsError(TallystickError):
    """Not enough credits: `balance` is what could be spent, `required` what was asked for.

    Built from nanocredits and kept in them; `balance` and `required` give the same in credits, exactly."""

    status = 402
    code = "insufficient_credits"

    def __init__(self, balance_nano: int, required_nano: int) -> None:
        self.balance_nano = balance_nano
        self.required_nano = required_nano
        super().__init__(
            "Not enough credits. Buy credits, or bring your own provider key.",
            details={"balance": self.balance, "required": self.required},
        )

    @property
    def balance(self) -> Decimal:
        return _credits(self.balance_nano)

    @property
    def required(self) -> Decimal:
        return _credits(self.required_nano)


class TooLarge(TallystickError):
    """The request is larger than this server takes."""

    status = 413
    code = "request_too_large"


class RateLimited(TallystickError):
    """Too many attempts: `retry_after` seconds until the next one is worth making."""

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message, details={"retry_after": retry_after})
        self.retry_after = retry_after


class QuotaExceeded(TallystickError):
    """A limit of the customer's plan is used up. Nothing was counted.

    `layer` is what refused: "quota" (a feature's window), "included" (an allowance), "overage" (a cap) or "access".
    `retry_at` is when more becomes free: the end of the period, or the moment the oldest use leaves the window.
    """

    status = 429
    code = "quota_exceeded"

    def __init__(
        self, message: str, *, layer: str, name: str, limit: int, used: int, retry_at: datetime | None
    ) -> None:
        self.layer = layer
        self.name = name
        self.limit = limit
        self.used = used
        self.retry_at = retry_at
        super().__init__(
            message,
            details={
                "limit_source": layer,
                "name": name,
                "limit": limit,
                "used": used,
                "remaining": self.remaining,
                "retry_at": None if retry_at is None else retry_at.isoformat().replace("+00:00", "Z"),
            },
        )

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    def retry_after(self, now: datetime) -> int | None:
        """Whole seconds, one at least, until more is free; None where waiting does not help."""
        if self.retry_at is None:
            return None
        return max(1, math.ceil((self.retry_at - now).total_seconds()))


class Misconfigured(TallystickError):
    """The installation must be changed by its operator before this can work; the message says how."""

    code = "misconfigured"


class UpstreamFailed(TallystickError):
    """A provider could not be reached or answered with a failure of its own."""

    status = 502
    code = "upstream_failed"


class UpstreamTimeout(UpstreamFailed):
    """A provider did not answer in time."""

    status = 504
    code = "upstream_timeout"


class Unavailable(TallystickError):
    """Something this server needs is away; nothing was charged and the same request can be sent again."""

    status = 503
    code = "unavailable"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message, details={"retry_after": retry_after})
        self.retry_after = retry_after


def _credits(nano: int) -> Decimal:
    # base.money does this too, but it stands above this module. Exact: a BIGINT has fewer digits than a Decimal keeps.
    return Decimal(nano) / 10**9
