"""A provider's failure as the customer is told of it: in our dialect, never with the operator's secrets (pure)."""

from typing import Final

import orjson

from tallystick.base.errors import UpstreamFailed, UpstreamTimeout
from tallystick.gateway.providers import openai_chat
from tallystick.gateway.wire import Refusal

# What a provider can only say about the request itself: sending the same again would fail again.
_OWN_MAKING: Final = frozenset({400, 413, 415, 422})
_MESSAGE_MAX: Final = 2000
_RETRY_AFTER_MAX: Final = 3600


def refusal_of_answer(
    status: int, body: bytes, retry_after: str | None, *, provider: str, credential: str | None
) -> tuple[Refusal, bool]:
    """For any status but 200; and whether the provider judged the request itself, rather than failed."""
    tried: dict[str, object] = {"provider": provider, "upstream_status": status}
    if status in _OWN_MAKING:
        message, param, code = _said(body, credential)
        refusal = Refusal(status=status, code=code or "invalid_request", message=message, param=param, metadata=tried)
        return refusal, True
    if status == 429:
        message = "The provider is busy: its own rate limit is reached. Nothing was charged."
        return (
            Refusal(
                status=429,
                code="upstream_rate_limited",
                message=message,
                metadata=tried,
                retry_after=_seconds(retry_after) or 1,
            ),
            False,
        )
    if status in (408, 504):
        return failed(UpstreamTimeout("The provider did not answer in time."), provider, status), False
    # 401, 402, 403 and 404 are about the operator's credential, bill or catalog: no matter of the customer's.
    return failed(UpstreamFailed(f"The provider failed with status {status}."), provider, status), False


def failed(error: UpstreamFailed, provider: str, upstream_status: int | None = None) -> Refusal:
    """A failure to reach the provider, or to make sense of it."""
    metadata: dict[str, object] = {"provider": provider, "attempts": 1}
    if upstream_status is not None:
        metadata["upstream_status"] = upstream_status
    return Refusal(status=error.status, code=error.code, message=error.message, metadata=metadata)


def redacted(message: str, credential: str | None) -> str:
    """A provider may quote the key it was called with."""
    return (message.replace(credential, "[redacted]") if credential else message)[:_MESSAGE_MAX]


def _said(body: bytes, credential: str | None) -> tuple[str, str | None, str | None]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "The provider refused the request.", None, None
    message = redacted(openai_chat.error_message(answer) or "The provider refused the request.", credential)
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return message, None, None
    param, code = error.get("param"), error.get("code")
    return message, param if isinstance(param, str) else None, code if isinstance(code, str) else None


def _seconds(retry_after: str | None) -> int | None:
    if retry_after is None or not retry_after.isascii() or not retry_after.isdigit():
        return None
    return min(int(retry_after[:9]), _RETRY_AFTER_MAX)
