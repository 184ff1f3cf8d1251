"""Replies in OpenAI's wire format: one JSON object, or a stream of chunks as server-sent events."""

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from tallystick.sandbox.model.chat import ChatRequest, Reply, Usage

_encode = msgspec.json.Encoder().encode


def whole_completion(identifier: str, request: ChatRequest, said: Reply, used: Usage) -> bytes:
    """The answer to a call that did not ask for a stream."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None}
    if said.tool is not None:
        message |= {"content": None, "tool_calls": [_tool_call(identifier, said.tool, said.text)]}
    choice = {"message": message, "logprobs": None, "finish_reason": said.finish}
    return _encode(
        {
            "id": identifier,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request.model,
            "choices": [{"index": index, **choice} for index in range(request.n or 1)],
            "usage": used,
            "system_fingerprint": "fp_sandbox",
        }
    )


def chunks(identifier: str, request: ChatRequest, said: Reply, used: Usage) -> Iterator[bytes]:
    """The events of a stream: a role, one token at a time for each choice, the end, the usage if it was asked for."""
    with_usage = request.stream_options is not None and request.stream_options.include_usage
    base = {
        "id": identifier,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": request.model,
        "system_fingerprint": "fp_sandbox",
    }
    # Asked for usage, every chunk but the last shows that there is none yet.
    base_usage = {**base, "usage": None} if with_usage else base
    for index in range(request.n or 1):
        for delta, finish in _deltas(identifier, said):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            yield _event({**base_usage, "choices": [choice]})
    if with_usage:
        yield _event({**base, "choices": [], "usage": used})
    yield b"data: [DONE]\n\n"


def _deltas(identifier: str, said: Reply) -> Iterator[tuple[dict[str, Any], str | None]]:
    if said.tool is None:
        yield {"role": "assistant", "content": "", "refusal": None}, None
        for piece in said.pieces:
            yield {"content": piece}, None
    else:
        yield {"role": "assistant", "content": None, "tool_calls": [_tool_call(identifier, said.tool, "", 0)]}, None
        for piece in said.pieces:
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, None
    yield {}, said.finish


def _tool_call(identifier: str, name: str, arguments: str, index: int | None = None) -> dict[str, Any]:
    call: dict[str, Any] = {} if index is None else {"index": index}
    number = identifier.rpartition("-")[2]
    return call | {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % _encode(value)
