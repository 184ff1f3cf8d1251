"""A model provider over real HTTP that does exactly what a test tells it to, and remembers what it was asked."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

Play = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def usage(prompt: int = 10, completion: int = 5, **details: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **details}


def completion(text: str | None = "Hello there", told: Any = None, **message: Any) -> dict[str, Any]:
    """A whole answer; `told` is its usage, "absent" leaves it out."""
    answer: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "small-1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
        ],
    }
    if told != "absent":
        answer["usage"] = usage() if told is None else told
    return answer


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "small-1",
        "choices": choices,
        **fields,
    }


def event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def spoken(words: Iterable[str], told: Any = None, *, done: bool = True, finish: str | None = "stop") -> list[bytes]:
    """The events of a stream: a role, a chunk for each word, the finish, the usage, [DONE]."""
    events = [event(chunk({"role": "assistant", "content": ""}))]
    events += [event(chunk({"content": word})) for word in words]
    if finish:
        events.append(event(chunk(finish=finish)))
    if told != "absent":
        events.append(event({**chunk(), "choices": [], "usage": usage() if told is None else told}))
    return [*events, event(b"[DONE]")] if done else events


def answer(
    body: Any = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    delay_s: float = 0,
    until: asyncio.Event | None = None,
) -> Play:
    async def play(_request: web.Request, _call: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(delay_s)
        if until is not None:
            await until.wait()
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, headers=headers)
        return web.json_response(completion() if body is None else body, status=status, headers=headers)

    return play


def stream(blocks: Iterable[bytes | float | Callable[[], Awaitable[Any]]], *, abort: bool = False) -> Play:
    """Send blocks as they are; a number is a pause, a callable is awaited. `abort` breaks the connection at the end."""

    async def play(request: web.Request, _call: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for block in blocks:
            if callable(block):
                await block()
            elif isinstance(block, float | int):
                await asyncio.sleep(block)
            else:
                await response.write(block)
        if abort:
            await break_off(request)
        await response.write_eof()
        return response

    return play


async def break_off(request: web.Request) -> None:
    transport = request.transport
    assert transport is not None
    await asyncio.sleep(0.02)
    transport.abort()


async def reset(request: web.Request, _call: dict[str, Any]) -> web.StreamResponse:
    """Break the connection before any answer."""
    await break_off(request)
    return web.Response()


class FakeProvider:
    """Plays what is queued, one for each call; then `usual` for ever."""

    def __init__(self) -> None:
        self.queued: deque[Play] = deque()
        self.usual: Play = answer()
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.base_url = ""
        self._runner: web.AppRunner | None = None

    def then(self, *plays: Play) -> None:
        self.queued.extend(plays)

    async def start(self) -> None:
        app = web.Application(client_max_size=100_000_000)
        app.router.add_post("/v1/chat/completions", self._play)
        app.router.add_post("/elsewhere", self._play)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        await web.SockSite(self._runner, sock).start()
        self.base_url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _play(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = json.loads(body)
        self.calls.append(call)
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        play = self.queued.popleft() if self.queued else self.usual
        return await play(request, call)
