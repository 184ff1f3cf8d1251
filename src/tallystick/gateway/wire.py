"""What a refusal looks like on the wire, in the dialect of OpenAI's clients (pure)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import orjson
from msgspec import Struct

from tallystick.base.errors import InsufficientCreditsError, QuotaExceeded, TallystickError
from tallystick.base.money import format_amount

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


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a call got no answer: an HTTP status before the first byte, an error event after it."""

    status: int
    code: str
    message: str
    param: str | None = None
    metadata: Mapping[str, object] = {}
    retry_after: int | None = None
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
        if self.close:
            found.append(CLOSE)
        return found


def refusal(error: TallystickError, ways_out: Sequence[str], now: datetime) -> Refusal:
    """Any expected error of ours as a refusal; `ways_out` is for one who lacks credits, or whose plan is used up."""
    metadata = dict(error.details)
    param = metadata.pop("field", None)
    if isinstance(error, InsufficientCreditsError):
        metadata = {
            "limit_source": "credits",
            "balance": format_amount(error.balance_nano),
            "required": format_amount(error.required_nano),
            "ways_out": list(ways_out),
        }
    retry_after = getattr(error, "retry_after", None)
    if isinstance(error, QuotaExceeded):
        metadata["ways_out"] = list(ways_out)
        retry_after = error.retry_after(now)
    return Refusal(
        status=error.status,
        code=_CODES.get(error.code, error.code),
        message=error.message,
        param=param if isinstance(param, str) else None,
        metadata=metadata,
        retry_after=retry_after,
        close=error.status == 408,
    )
