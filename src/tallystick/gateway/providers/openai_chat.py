"""The wire protocol of OpenAI's chat completions, as the many providers that copied it speak it (pure)."""

from typing import Any, Final

import orjson

from tallystick.gateway.chat_request import ChatRequest
from tallystick.gateway.meter import Reported

PATH: Final = "/chat/completions"
DONE: Final = b"data: [DONE]\n\n"
# Finish reasons that decide what is charged.
CUT_BY_LIMIT: Final = "length"
FAILED: Final = "error"
# A count above this is no count; it would not fit the books.
_COUNT_MAX: Final = 2**53
# Names and numbers around the content of an answer.
_NOT_CONTENT: Final = frozenset({"role", "id", "type", "index", "format"})


def request_body(request: ChatRequest, model: str, output_limit: int, limit_parameter: str) -> bytes:
    """The call as it goes to the provider: the model as the provider names it, and no more output than was reserved,
    under the name the client used, or else the one this provider understands."""
    fields = dict(request.fields)
    fields["model"] = model
    fields[request.limit_name or limit_parameter] = output_limit
    if request.stream:
        fields["stream_options"] = {"include_usage": True}
    return orjson.dumps(fields)


def read_usage(raw: object) -> Reported | None:
    """A `usage` object in our words; None where there is none. Counts that are no counts are not told."""
    if not isinstance(raw, dict) or not raw:
        return None
    bad: list[str] = []
    inputs = _part(raw, "prompt_tokens_details")
    outputs = _part(raw, "completion_tokens_details")
    input_tokens = _count(raw, "prompt_tokens", bad)
    output_tokens = _count(raw, "completion_tokens", bad)
    total = _count(raw, "total_tokens", bad)
    reasoning = _count(outputs, "reasoning_tokens", bad) or 0
    cached = _count(inputs, "cached_tokens", bad)
    if cached is None:
        cached = _count(raw, "prompt_cache_hit_tokens", bad)
    if total is not None and input_tokens is not None and output_tokens is not None:
        if reasoning and total == input_tokens + output_tokens + reasoning:
            output_tokens += reasoning  # some providers count reasoning beside the answer, not within it
        elif total != input_tokens + output_tokens:
            bad.append("total_disagrees")
    return Reported(
        input_tokens=input_tokens,
        cached_tokens=cached or 0,
        cache_write_tokens=_count(inputs, "cache_write_tokens", bad) or 0,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning,
        input_audio_tokens=_count(inputs, "audio_tokens", bad) or 0,
        output_audio_tokens=_count(outputs, "audio_tokens", bad) or 0,
        flags=tuple(bad),
    )


def content_bytes(message: object) -> int:
    """How much of an answer a message, or a delta of one, holds: all text in it, in whatever field a provider puts it.
    What is not known here is content too: else an answer in a new shape would be an empty one, and free."""
    if not isinstance(message, dict):
        return 0
    told_twice = "reasoning_details" if message.get("reasoning") else None
    return sum(
        _text_bytes_within(value) for name, value in message.items() if name not in _NOT_CONTENT and name != told_twice
    )


def choices(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices of an answer or a chunk; whatever is not one is not there."""
    found = answer.get("choices")
    return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []


def error_message(answer: object) -> str | None:
    """What a provider says went wrong, in the shapes the copies of the protocol use; None where nothing did."""
    if not isinstance(answer, dict):
        return None
    error = answer.get("error") or (answer.get("message") if answer.get("object") == "error" else None)
    if isinstance(error, dict):
        error = error.get("message") or error.get("code") or "unknown error"
    return str(error) if error else None


def _part(raw: dict[str, Any], name: str) -> dict[str, Any]:
    part = raw.get(name)
    return part if isinstance(part, dict) else {}


def _count(raw: dict[str, Any], name: str, bad: list[str]) -> int | None:
    value = raw.get(name)
    if value is None:
        return None
    if type(value) is float and value.is_integer() and abs(value) <= _COUNT_MAX:
        value = int(value)
    if type(value) is not int or value < 0:
        bad.append(f"{name}_unreadable")
        return None
    return min(value, _COUNT_MAX)


def _text_bytes_within(value: object) -> int:
    if isinstance(value, str):
        return _text_bytes(value)
    if isinstance(value, list):
        return sum(_text_bytes_within(part) for part in value)
    if isinstance(value, dict):
        return sum(_text_bytes_within(part) for name, part in value.items() if name not in _NOT_CONTENT)
    return 0


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
