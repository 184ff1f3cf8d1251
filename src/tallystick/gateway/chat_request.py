"""A chat completion as a customer asks for it: checked where it decides what is paid, passed on otherwise (pure)."""

from typing import Any, Final

import orjson
from msgspec import Struct

from tallystick.base.errors import InvalidInput
from tallystick.gateway.depth import too_deep

# The parameters that reach a provider. Anything else a client sends (base_url, api_key, cost, models, plugins, ...)
# could change where a call goes or what it costs, so it is left behind.
PASSED: Final = frozenset(
    {
        "messages", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call",
        "response_format", "temperature", "top_p", "top_k", "min_p", "top_a", "stop", "seed",
        "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
        "n", "stream", "modalities", "audio", "prediction", "reasoning_effort", "reasoning", "thinking", "verbosity",
        "enable_thinking", "chat_template_kwargs", "user", "safety_identifier", "prompt_cache_key", "metadata", "store",
    }
)  # fmt: skip
# Priced apart by providers, and not by our prices: asking for one must not be answered at the wrong price.
_UNPRICED: Final = frozenset({"web_search_options", "prompt_cache_retention"})
_TIERS_AT_LIST_PRICE: Final = (None, "auto", "default")
# Whatever a provider adds around a conversation, and around its tools, is fewer tokens than this.
_FRAME_TOKENS: Final = 64
_TOOL_FRAME_TOKENS: Final = 512
_TEXT_PARTS: Final = frozenset({"text", "refusal"})
_INTEGER_MAX: Final = 2**53
_MODEL_NAME_MAX: Final = 200


class ChatRequest(Struct, frozen=True, kw_only=True):
    model: str
    stream: bool
    # Whether the client wants the usage of a stream told.
    include_usage: bool
    choices: int
    # The client's own limit of output tokens for each choice, under the name it used.
    output_limit: int | None
    limit_name: str | None
    # At least as many as there are input tokens besides those of images: a token is at least one byte.
    text_tokens_max: int
    images: int
    # Something whose size cannot be told from the body: a file by its id, a video by its address.
    elsewhere: bool
    audio: bool
    fields: dict[str, Any]


def parse(body: bytes, choices_max: int) -> ChatRequest:
    """Raises InvalidInput, naming the field, for a body that cannot be bounded or understood."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("body", f"is not JSON that can be read: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidInput("body", "must be a JSON object")
    if too_deep(body, fields):
        raise InvalidInput("body", "is nested too deeply")
    _refuse_unpriced(fields)
    model = fields.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= _MODEL_NAME_MAX:
        raise InvalidInput("model", "must be the name of a model")
    stream, include_usage = _streaming(fields)
    output_limit, limit_name = _output_limit(fields)
    images, media_bytes, audio, elsewhere = _media(fields.get("messages"))
    frame = _FRAME_TOKENS + (_TOOL_FRAME_TOKENS if "tools" in fields or "functions" in fields else 0)
    return ChatRequest(
        model=model,
        stream=stream,
        include_usage=include_usage,
        choices=_whole_number(fields, "n", choices_max) or 1,
        output_limit=output_limit,
        limit_name=limit_name,
        text_tokens_max=len(body) - media_bytes + frame,
        images=images,
        elsewhere=elsewhere,
        audio=audio or bool(fields.get("audio")),
        fields={name: fields[name] for name in fields if name in PASSED},
    )


def _refuse_unpriced(fields: dict[str, Any]) -> None:
    for name in _UNPRICED & fields.keys():
        if fields[name] is not None:
            raise InvalidInput(name, "is not offered here: it has no price")
    if fields.get("service_tier") not in _TIERS_AT_LIST_PRICE:
        raise InvalidInput("service_tier", 'must be "auto" or "default": other tiers have no price here')


def _streaming(fields: dict[str, Any]) -> tuple[bool, bool]:
    stream, options = fields.get("stream"), fields.get("stream_options")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidInput("stream", "must be true or false")
    if options is not None and not isinstance(options, dict):
        raise InvalidInput("stream_options", "must be an object")
    return bool(stream), bool(stream and options and options.get("include_usage") is True)


def _output_limit(fields: dict[str, Any]) -> tuple[int | None, str | None]:
    newer = _whole_number(fields, "max_completion_tokens", None)
    older = _whole_number(fields, "max_tokens", None)
    if newer is not None:
        return newer if older is None else min(newer, older), "max_completion_tokens"
    return older, None if older is None else "max_tokens"


def _whole_number(fields: dict[str, Any], name: str, at_most: int | None) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= _INTEGER_MAX:
        raise InvalidInput(name, "must be a whole number of at least 1")
    if at_most is not None and value > at_most:
        raise InvalidInput(name, f"must be at most {at_most}")
    return value


def _media(messages: object) -> tuple[int, int, bool, bool]:
    """How many images there are, how many bytes of the body they are, whether there is audio, and whether anything
    is of a kind that its bytes do not bound."""
    if not isinstance(messages, list) or not messages:
        raise InvalidInput("messages", "must be a list of at least one message")
    images, media_bytes, audio, elsewhere = 0, 0, False, False
    for message in messages:
        if not isinstance(message, dict):
            raise InvalidInput("messages", "must hold objects only")
        content = message.get("content")
        if not isinstance(content, list):
            continue
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "image_url":
                images += 1
                media_bytes += _inline_bytes(part)
            elif kind == "input_audio":
                audio = True
            elif kind not in _TEXT_PARTS:
                elsewhere = True
    return images, media_bytes, audio, elsewhere


def _inline_bytes(part: dict[str, Any]) -> int:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    # Characters, not bytes: base64 is ASCII, and anything else must go on counting as text.
    return len(url) if isinstance(url, str) and url.startswith("data:image/") and url.isascii() else 0
