"""What the model says: deterministic replies to chat requests, and what they cost in tokens.

- The reply is `Echo: ` and the text of the last user message; `[[tokens=500]]` in that message asks for a reply of
  exactly 500 tokens instead.
- A tool is called when `tool_choice` is "required" or names it, or when the last user message contains its name.
- `response_format` gets JSON: the echo in an object, or the smallest value that fits the schema.
- A model whose name ends in `-cached` reports half of its input (rounded down) as read from a cache; one that ends in
  `-reasoning` thinks for 32 tokens before it speaks.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from tallystick.sandbox.model import tokens
from tallystick.sandbox.model.example import example

REASONING: Final = 32
_LENGTH_WANTED: Final = re.compile(r"\[\[tokens=([0-9]{1,6})\]\]")
_FILLER: Final = "tok "


class Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class ChatRequest(msgspec.Struct):
    """The part of a chat completion request that changes the answer; other fields are taken and ignored."""

    model: str
    messages: list[Message]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice, cut into its tokens. With a `tool` the pieces are the call's arguments."""

    pieces: list[str]
    finish: Literal["stop", "length", "tool_calls"]
    tokens: int
    reasoning: int = 0
    tool: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class Malformed(Exception):
    """The request makes no sense; `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def check(request: ChatRequest) -> None:
    if not request.messages:
        raise Malformed("'messages' must not be empty.", "messages")
    if not 1 <= (request.n or 1) <= 128:
        raise Malformed("'n' must be between 1 and 128.", "n")
    for field in ("max_tokens", "max_completion_tokens"):
        limit: int | None = getattr(request, field)
        if limit is not None and limit < 1:
            raise Malformed(f"'{field}' must be at least 1.", field)


def reply(request: ChatRequest) -> Reply:
    """The reply, the same for every choice."""
    limit = request.max_completion_tokens or request.max_tokens
    reasoning = REASONING if request.model.endswith("-reasoning") else 0
    if limit is not None and reasoning:
        reasoning = min(reasoning, limit)
    tool, text = _wanted_tool(request), _text(request)
    if tool is not None:
        arguments = msgspec.json.encode(example(tool.get("parameters") or {})).decode()
        cut, named = tokens.pieces(arguments), tokens.count(tool["name"])
        finish: Literal["stop", "tool_calls"] = "stop" if isinstance(request.tool_choice, dict) else "tool_calls"
        return Reply(cut, finish, reasoning + named + len(cut), reasoning, tool["name"])
    cut = tokens.pieces(text)
    if limit is not None and reasoning + len(cut) > limit:
        cut = cut[: limit - reasoning]
        return Reply(cut, "length", limit, reasoning)
    return Reply(cut, "stop", reasoning + len(cut), reasoning)


def usage(request: ChatRequest, said: Reply) -> Usage:
    """What the call used: the input once, the reply for every choice."""
    prompt = sum(_cost(message) for message in request.messages)
    if request.tools:
        prompt += tokens.count_json(request.tools)
    completion, reasoning = ((request.n or 1) * amount for amount in (said.tokens, said.reasoning))
    cached = prompt // 2 if request.model.endswith("-cached") else 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details={"cached_tokens": cached, "audio_tokens": 0},
        completion_tokens_details={"reasoning_tokens": reasoning, "audio_tokens": 0},
    )


def _cost(message: Message) -> int:
    cost = tokens.PER_MESSAGE + tokens.count(_spoken(message))
    if isinstance(message.content, list):
        cost += tokens.PER_IMAGE * sum(part.get("type") == "image_url" for part in message.content)
    for called in message.tool_calls or []:
        function = called.get("function", {})
        cost += tokens.count(str(function.get("name", ""))) + tokens.count(str(function.get("arguments", "")))
    return cost


def _spoken(message: Message) -> str:
    if isinstance(message.content, list):
        return "".join(str(part.get("text", "")) for part in message.content if part.get("type") == "text")
    return message.content or ""


def _last_user_text(request: ChatRequest) -> str:
    return next((_spoken(message) for message in reversed(request.messages) if message.role == "user"), "")


def _text(request: ChatRequest) -> str:
    asked = _last_user_text(request)
    form = (request.response_format or {}).get("type")
    if form == "json_schema":
        schema = (request.response_format or {}).get("json_schema", {}).get("schema", {})
        return msgspec.json.encode(example(schema)).decode()
    if form == "json_object":
        return msgspec.json.encode({"echo": asked}).decode()
    if wanted := _LENGTH_WANTED.search(asked):
        return _FILLER * int(wanted[1])
    return f"Echo: {asked}"


def _wanted_tool(request: ChatRequest) -> dict[str, Any] | None:
    functions: list[dict[str, Any]] = [
        tool["function"] for tool in request.tools or [] if isinstance(tool.get("function"), dict)
    ]
    choice = request.tool_choice
    if not functions or choice == "none":
        return None
    if choice == "required":
        return functions[0]
    if isinstance(choice, dict):
        name = choice.get("function", {}).get("name")
        named = [function for function in functions if function.get("name") == name]
        if not named:
            raise Malformed(f"Tool choice '{name}' not found in 'tools'.", "tool_choice")
        return named[0]
    asked = _last_user_text(request)
    return next((function for function in functions if str(function.get("name")) in asked), None)
