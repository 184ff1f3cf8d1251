"""The load: some connections that each send the next request when the last is answered. Always in another process, so
that its CPU is nobody's who is measured."""

import http.client
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

# Longer than any run; only a client that hangs reaches it.
_LIMIT_S: Final = 300
_QUESTION: Final = "Why were tally sticks split in two?"
_SCRIPT: Final = Path(__file__).with_name("post.lua")
_ROOT: Final = Path(__file__).parent.parent


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the clients saw. `refused` counts answers above 399, `broken` connections without an answer."""

    requests: int
    refused: int
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float
    events: int

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds


class LoadFailed(Exception):
    """Requests were refused or broken, so that the numbers are not those of the work that was asked for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the whole address, the API key, and the file that holds its body."""

    url: str
    key: str
    body: Path


def write_body(folder: Path) -> Path:
    """The body of a plain call."""
    return _write(folder / "body.json", {"model": "whole", "max_tokens": 64}, _QUESTION)


def write_stream_body(folder: Path, tokens: int) -> Path:
    """The body of a call whose answer is a stream; the sandbox's model says as many tokens as it is told to."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    fields = {"model": "paced", "max_tokens": tokens, **options}
    return _write(folder / "stream.json", fields, f"{_QUESTION} [[tokens={tokens}]]")


def _write(path: Path, fields: dict[str, object], question: str) -> Path:
    messages = [
        {"role": "system", "content": "You are a clerk of the exchequer. Answer in one sentence."},
        {"role": "user", "content": question},
    ]
    path.write_text(json.dumps({**fields, "messages": messages}))
    return path


def status(call: Call) -> int | None:
    """Make the call once; the status it is answered with, or None when nobody answers."""
    address = urlsplit(call.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    headers = {"authorization": f"Bearer {call.key}", "content-type": "application/json"}
    try:
        connection.request("POST", address.path, call.body.read_bytes(), headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer.status


def press(call: Call, *, connections: int, seconds: float) -> Result:
    """Plain calls for that long: by wrk where it is installed, else by our own client."""
    program = shutil.which("wrk")
    if program is None:
        return read_streams(call, connections=connections, seconds=seconds)
    # Whole seconds are all that wrk takes.
    duration = str(max(1, round(seconds)))
    options = ["--threads", "1", "--connections", str(connections), "--duration", duration, "--timeout", "30"]
    return _result(call, [program, *options, "--script", str(_SCRIPT), call.url, "--", str(call.body), call.key])


def read_streams(call: Call, *, connections: int, seconds: float) -> Result:
    """Calls by our own client, which counts the events of streams, and lets each that has begun come to its end."""
    words = [call.url, str(call.body), call.key, str(connections), str(seconds)]
    return _result(call, [sys.executable, "-m", "bench.client", *words])


def _result(call: Call, command: list[str]) -> Result:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S, cwd=_ROOT)
    lines = [line.removeprefix("result ") for line in done.stdout.splitlines() if line.startswith("result ")]
    if done.returncode or not lines:
        raise LoadFailed(f"the load on {call.url} failed: {done.stdout}{done.stderr}")
    result = msgspec.json.decode(lines[-1], type=Result)
    if result.refused or result.broken or not result.requests:
        raise LoadFailed(
            f"{result.refused} refused and {result.broken} broken of {result.requests} requests to {call.url}"
        )
    return result
