"""What a refusal looks like on the wire, in the dialect of OpenAI's clients (pure)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import orjson
from msgspec import Struct

from tallystick.base.errors import InsufficientCreditsError, QuotaExceeded, RateLimited, TallystickError
from tallystick.base.money import format_amount
from tallystick.catalog.plan import DOLLARS

Headers = list[tuple[bytes, bytes]]

JSON: Final = (b"content-type", b"application/json")
CLOSE: Final = (b"connection", b"close")
_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_credits",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
# What OpenAI's own clients look for, where our tree has another word.
_CODES: Final = {"unauthorized": "invalid_api_key"}
# OpenAI's clients wait no longer than this between two tries, however long they are told to.
_WAIT_S_MAX: Final = 60


class TooFast(RateLimited):
    """More in a minute, or at a time, than the plan allows. Nothing was counted."""

    def __init__(
        self,
        message: str,
        *,
        name: str,
        limit: int,
        used: int,
        retry_after: int,
        ever: bool = True,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(message, retry_after)
        self.details |= {
            "limit_source": "rate",
            "name": name,
            "limit": limit,
            "used": used,
            "remaining": max(0, limit - used),
        }
        # Whether the same request could be taken at another time.
        self.ever = ever
        self.headers: Headers = headers or []


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a call got no answer: an HTTP status before the first byte, an error event after it."""

    status: int
    code: str
    message: str
    param: str | None = None
    metadata: Mapping[str, object] = {}
    retry_after: int | None = None
    # Whether a client that tries again by itself should.
    retry: bool = True
    more_headers: Sequence[tuple[bytes, bytes]] = ()
    # The rest of the request is not worth reading.
    close: bool = False

    @property
    def type(self) -> str:
        return _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def body(self, request_id: str) -> bytes:
        error: dict[str, object] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
            "request_id": request_id,
        }
        if self.metadata:
            error["metadata"] = dict(self.metadata)
        return orjson.dumps({"error": error}, default=str)

    def headers(self) -> Headers:
        found = [JSON]
        if self.retry_after is not None:
            found.append((b"retry-after", b"%d" % self.retry_after))
        if not self.retry:
            found.append((b"x-should-retry", b"false"))
        found.extend(self.more_headers)
        if self.close:
            found.append(CLOSE)
        return found


def refusal(error: TallystickError, ways_out: Sequence[str], now: datetime) -> Refusal:
    """Any expected error of ours as a refusal. `ways_out` is for one who lacks credits: first how to buy some, which
    opens no limit of a plan, then what helps with either."""
    metadata = dict(error.details)
    param = metadata.pop("field", None)
    if isinstance(error, InsufficientCreditsError):
        metadata = {
            "limit_source": "credits",
            "balance": format_amount(error.balance_nano),
            "required": format_amount(error.required_nano),
            "ways_out": list(ways_out),
        }
    retry_after, retry, message = getattr(error, "retry_after", None), True, error.message
    if isinstance(error, QuotaExceeded):
        retry_after = error.retry_after(now)
        retry = retry_after is not None and retry_after <= _WAIT_S_MAX
        metadata["ways_out"] = [*_more(error), *ways_out[1:]]
        if error.name == DOLLARS:
            message = _in_dollars(error, metadata)
    return Refusal(
        status=error.status,
        code=_CODES.get(error.code, error.code),
        message=message,
        param=param if isinstance(param, str) else None,
        metadata=metadata,
        retry_after=retry_after,
        retry=error.ever if isinstance(error, TooFast) else retry,
        more_headers=error.headers if isinstance(error, TooFast) else (),
        close=error.status == 408,
    )


def _more(error: QuotaExceeded) -> list[str]:
    wait = [] if error.retry_at is None else [f"Wait until {error.details['retry_at']}."]
    return [*wait, "Change to a plan that has more."]


def _in_dollars(error: QuotaExceeded, metadata: dict[str, object]) -> str:
    """A limit in money as text, like all money; within, it is nanocredits."""
    limit, left = format_amount(error.limit), format_amount(error.remaining)
    metadata |= {"limit": limit, "used": format_amount(error.used), "remaining": left}
    if not error.remaining:
        return f"The limit of {limit} dollars for this period is reached."
    return f"This can cost more than is left in this period: {left} of {limit} dollars."
