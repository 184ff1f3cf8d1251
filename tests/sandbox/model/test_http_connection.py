"""The bare HTTP server, where a client library would never go."""

import asyncio
import json

import httpx
import pytest

from tests.patience import PATIENCE_S, eventually

MODULE = "tallystick.sandbox.model"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: %d\r\n" % len(BODY)


async def exchange(address: str, *sent: bytes) -> bytes:
    """Sends parts one after the other and reads until the server closes."""
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in sent:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)
    received = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    await writer.wait_closed()
    return received


@pytest.fixture(scope="module")
def address(start):
    with start(MODULE) as running:
        yield running


@pytest.fixture(scope="module")
def slow(start):
    with start(MODULE, "--delay-ms", "50", "--chunk-delay-ms", "20") as running:
        yield running


async def test_pipelined_requests_are_answered_in_order(address, slow):
    last = HEAD + b"connection: close\r\n\r\n" + BODY
    for target in (address, slow):
        received = await exchange(target, (HEAD + b"\r\n" + BODY) * 3 + last)
        ids = [int(part.split(b'"')[0]) for part in received.split(b'"id":"chatcmpl-')[1:]]
        assert ids == sorted(ids)
        assert len(ids) == 4


async def test_a_request_in_pieces_is_one_request(address):
    whole = HEAD + b"connection: close\r\n\r\n" + BODY
    received = await exchange(address, *(whole[start : start + 20] for start in range(0, len(whole), 20)))
    assert received.count(b"HTTP/1.1 200 OK") == 1


async def test_expect_100_continue_is_answered(address):
    received = await exchange(address, HEAD + b"expect: 100-continue\r\nconnection: close\r\n\r\n", BODY)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_what_is_not_http_is_refused_and_closed(address):
    assert (await exchange(address, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")


async def test_a_client_that_leaves_in_the_middle_is_seen_to_have_left(slow):
    httpx.delete(f"{slow}/_sandbox/calls")
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "[[tokens=2000]]"}]}
    async with httpx.AsyncClient(verify=False, headers={"authorization": "Bearer k"}) as client:
        async with client.stream("POST", f"{slow}/v1/chat/completions", json=body) as response:
            await anext(response.aiter_bytes())

        async def counted():
            return (await client.get(f"{slow}/_sandbox/calls")).json()

        async def is_seen():
            return (await counted())["aborted"]

        await eventually(is_seen)
        found = await counted()
    assert (found["total"], found["aborted"], found["finished"]) == (1, 1, 0)


async def test_canned_answers_whole_or_as_a_stream(start):
    with start(MODULE, "--canned") as address:
        async with httpx.AsyncClient(verify=False) as client:
            whole = (await client.post(f"{address}/v1/chat/completions", json={"stream": False})).json()
            stream = await client.post(f"{address}/anything", json={"stream": True})
            counted = (await client.get(f"{address}/_sandbox/calls")).json()
    events = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
    said = "".join(event["choices"][0]["delta"].get("content", "") for event in events if event["choices"])
    assert said == whole["choices"][0]["message"]["content"]
    assert events[-1]["usage"] == whole["usage"]
    assert stream.text.endswith("data: [DONE]\n\n")
    assert counted == {"total": 2}
