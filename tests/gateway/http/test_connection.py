"""The protocol's edges: what a server can say, cut anywhere, and which connections may be used again."""

import asyncio

import pytest
from http_server import LIMITS, Peer, RawServer, ask, chunked, close, gone, says, upstream, whole
from msgspec.structs import replace

from tallystick.base.errors import UpstreamFailed, UpstreamTimeout
from tests.patience import eventually

BIG = b"x" * 3_000_000


async def test_a_request_is_one_head_and_its_body(server: RawServer) -> None:
    server.then(says(whole()))
    async with upstream() as caller:
        await ask(caller, server, b'{"a": 1}')
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /v1/x HTTP/1.1",
        b"host: 127.0.0.1:%d" % server.port,
        b"user-agent: tallystick",
        b"accept: application/json, text/event-stream",
        b"accept-encoding: identity",
        b"content-type: application/json",
        b"authorization: Bearer secret",
        b"content-length: 8",
    ]
    assert body == b'{"a": 1}'


ANSWERS = {
    "length": whole(b"hello"),
    "no body": whole(b""),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "chunked": chunked(b"he", b"llo"),
    "chunk extensions and trailers": chunked(b"hello", trailers=b"x-sum: 1\r\n", extension=b";a=b;c"),
    "no chunks": chunked(),
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + whole(b"hello"),
    "no reason": whole(status=b"200"),
    "an offer to upgrade": whole(b"hello", b"upgrade: h2c", b"connection: upgrade"),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_cut_at_every_byte(server: RawServer, what: str) -> None:
    answer = ANSWERS[what]
    expected = b"hello" if b"he" in answer.partition(b"\r\n\r\n")[2] else b""
    cuts = [[answer[:at], 0.0, answer[at:]] for at in range(1, len(answer))]
    server.then(*(says(*cut) for cut in cuts), says(*(answer[at : at + 1] for at in range(len(answer)))))
    async with upstream() as caller:
        for _ in range(len(cuts) + 1):
            status, body = await ask(caller, server)
            assert (status, body) == (204 if what == "204" else 200, expected)
    assert server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        whole(b"hello", b"connection: close"),
    ],
)
async def test_an_answer_that_ends_the_connection(server: RawServer, answer: bytes) -> None:
    server.then(says(answer), close, says(answer), close)
    async with upstream() as caller:
        assert await ask(caller, server) == (200, b"hello")
        assert await ask(caller, server) == (200, b"hello")
    assert server.accepted == 2


@pytest.mark.parametrize(
    "surplus",
    [b"garbage", whole(b"somebody else's answer"), b"HTTP/1.1 200 OK\r\n", b"\x00"],
)
@pytest.mark.parametrize("pause_s", [None, 0.0, 0.05])
async def test_what_nobody_asked_for_is_nobodys_answer(
    server: RawServer, surplus: bytes, pause_s: float | None
) -> None:
    first = [whole(b"first") + surplus] if pause_s is None else [whole(b"first"), pause_s, surplus]
    server.then(says(*first), gone, says(whole(b"second")))
    async with upstream() as caller:
        assert await ask(caller, server) == (200, b"first")
        await asyncio.sleep(0.1)
        assert await ask(caller, server) == (200, b"second")
    assert server.accepted == 2


async def test_words_before_the_first_question(server: RawServer) -> None:
    async def greet(peer: Peer) -> None:
        await peer.say(b"220 mail.example ESMTP\r\n")

    server.then(greet, gone)
    async with upstream() as caller:
        with pytest.raises(UpstreamFailed):
            await ask(caller, server)


BROKEN = {
    "garbage": [b"<html>"],
    "http/2": [b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"],
    "an odd version": [b"HTTP/7.3 200 OK\r\ncontent-length: 0\r\n\r\n"],
    "switching protocols": [b"HTTP/1.1 101 No\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"],
    "half a head": [b"HTTP/1.1 200 OK\r\ncontent-le"],
    "two lengths": [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi!"],
    "length and chunks": [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    ],
    "less than its length": [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"],
    "no last chunk": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"],
    "no chunk size": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n"],
    "an overflowing chunk": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\nhi"],
    "another encoding": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhello"],
    "an endless head": [b"HTTP/1.1 200 OK\r\nx: ", *[b"y" * 50_000] * 40],
    "endless headers": [b"HTTP/1.1 200 OK\r\n", *[b"x-y: z\r\n" * 5000] * 40],
    "endless interim answers": [b"HTTP/1.1 100 Continue\r\n\r\n" * 2000] * 40,
    "endless trailers": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", *[b"x-y: z\r\n" * 5000] * 40],
    "an endless chunk extension": [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;",
        *[b"x" * 50_000] * 40,
    ],
    "a folded header": [b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n"],
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_answer_is_a_failure(server: RawServer, what: str) -> None:
    server.then(says(*BROKEN[what]))
    async with upstream() as caller:
        with pytest.raises(UpstreamFailed) as failure:
            await ask(caller, server)
        assert failure.type is UpstreamFailed
        server.then(says(whole()))
        assert await ask(caller, server) == (200, b"hello")
    assert (server.accepted, len(server.requests)) == (2, 2)


async def test_a_packed_body_is_not_unpacked(server: RawServer) -> None:
    server.then(says(whole(b"hello", b"Content-Encoding: GZIP")), says(whole(b"hello", b"content-encoding: identity")))
    async with upstream() as caller:
        with pytest.raises(UpstreamFailed):
            await ask(caller, server)
        assert await ask(caller, server) == (200, b"hello")


async def test_what_came_before_the_failure_is_read_first(server: RawServer) -> None:
    async def reset(peer: Peer) -> None:
        await asyncio.sleep(0.05)
        peer.reset()

    server.then(says(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhello"), reset)
    async with upstream() as caller:
        reply = await caller.post(server.url, "/", b"", None)
        await asyncio.sleep(0.2)
        assert await reply.block() == b"hello"
        with pytest.raises(UpstreamFailed):
            await reply.block()
        reply.close()


@pytest.mark.parametrize("when", ["before a byte", "in the head", "in the body"])
async def test_a_call_is_never_repeated(server: RawServer, when: str) -> None:
    async def break_off(peer: Peer) -> None:
        await peer.request()
        if when != "before a byte":
            await peer.say(b"HTTP/1.1 200 OK\r\n" + (b"content-length: 9\r\n\r\nhi" if when == "in the body" else b""))
            await asyncio.sleep(0.02)
        peer.reset()

    server.then(says(whole()), break_off)
    async with upstream() as caller:
        await ask(caller, server)
        with pytest.raises(UpstreamFailed):
            await ask(caller, server)
    assert (server.accepted, len(server.requests)) == (1, 2)


async def test_the_first_byte_is_not_waited_for_for_ever(server: RawServer) -> None:
    server.then(says(), gone)
    async with upstream(replace(LIMITS, first_byte_s=0.2)) as caller:
        with pytest.raises(UpstreamTimeout):
            await ask(caller, server)
        await eventually(lambda: server.ended == 1)


async def test_each_further_byte_has_its_time(server: RawServer) -> None:
    slow = [part for byte in b"hello" for part in (bytes([byte]), 0.2)]
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    server.then(says(head, 0.2, *slow), says(head, b"hell", 20.0))
    async with upstream(replace(LIMITS, between_s=1.0)) as caller:
        assert await ask(caller, server) == (200, b"hello")
        with pytest.raises(UpstreamTimeout):
            await ask(caller, server)


async def test_a_slow_reader_holds_the_server_back_and_does_not_time_out(server: RawServer) -> None:
    written = 0

    async def flood(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (20 * len(BIG)))
        for _ in range(20):
            await peer.say(BIG)
            written += len(BIG)

    server.then(flood, says(whole()))
    async with upstream(replace(LIMITS, between_s=1.0)) as caller:
        reply = await caller.post(server.url, "/", b"", None)
        await asyncio.sleep(1.5)
        # What the sockets of this machine hold, and what was read ahead.
        assert written < 10 * len(BIG)
        assert reply.size < 1_000_000
        assert len(await reply.whole(100_000_000)) == 20 * len(BIG)
        reply.close()
        assert await ask(caller, server) == (200, b"hello")
    assert server.accepted == 1


async def test_an_answer_may_end_while_the_reader_is_behind(server: RawServer) -> None:
    server.then(says(whole(BIG)), says(whole()))
    async with upstream() as caller:
        reply = await caller.post(server.url, "/", b"", None)
        await asyncio.sleep(0.2)
        assert await reply.whole(len(BIG)) == BIG
        reply.close()
        assert await ask(caller, server) == (200, b"hello")
    assert server.accepted == 1


async def test_more_than_is_taken_is_a_failure_and_the_connection_goes(server: RawServer) -> None:
    server.then(says(whole(BIG)), gone)
    async with upstream() as caller:
        reply = await caller.post(server.url, "/", b"", None)
        with pytest.raises(UpstreamFailed):
            await reply.whole(1000)
        reply.close()
        await eventually(lambda: server.ended == 1)


async def test_an_early_answer_to_a_large_request(server: RawServer) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(whole(b"too large", status=b"413 Content Too Large"))
        await asyncio.sleep(0.2)

    server.then(refuse)
    async with upstream() as caller:
        assert await ask(caller, server, BIG * 10) == (413, b"too large")
        server.then(says(whole()))
        assert await ask(caller, server) == (200, b"hello")
    # It was still being spoken to: it cannot be told anything else.
    assert server.accepted == 2


async def test_a_large_request_arrives_whole(server: RawServer) -> None:
    server.then(says(whole()))
    async with upstream() as caller:
        await ask(caller, server, BIG)
    assert server.requests[0].partition(b"\r\n\r\n")[2] == BIG


async def test_a_call_given_up_takes_its_connection_along(server: RawServer) -> None:
    server.then(says(5.0))
    async with upstream() as caller:
        waiting = asyncio.create_task(ask(caller, server))
        await eventually(lambda: len(server.requests) == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        server.then(says(whole()))
        assert await ask(caller, server) == (200, b"hello")
    assert server.accepted == 2


async def test_the_rest_of_a_stream_is_read_so_that_its_connection_is_kept(server: RawServer) -> None:
    server.then(says(chunked(b"data: [DONE]\n\n")[:-5], 0.1, b"0\r\n\r\n"), says(whole()))
    async with upstream() as caller:
        reply = await caller.post(server.url, "/", b"", None)
        assert await reply.block() == b"data: [DONE]\n\n"
        await reply.finish()
        assert await ask(caller, server) == (200, b"hello")
    assert server.accepted == 1


async def test_a_rest_that_does_not_come_costs_only_the_connection(server: RawServer) -> None:
    server.then(says(chunked(b"data: [DONE]\n\n")[:-5], 5.0))
    async with upstream() as caller:
        reply = await caller.post(server.url, "/", b"", None)
        assert await reply.block() == b"data: [DONE]\n\n"
        await reply.finish()
        server.then(says(whole()))
        assert await ask(caller, server) == (200, b"hello")
    assert server.accepted == 2


async def test_headers_are_found_in_any_case_and_the_first_counts(server: RawServer) -> None:
    server.then(says(whole(b"", b"Content-Type: Text/HTML; charset=x", b"Retry-After:  7 ", b"retry-after: 9")))
    async with upstream() as caller:
        reply = await caller.post(server.url, "/", b"", None)
        assert (reply.content_type, reply.header("retry-after"), reply.header("x")) == ("text/html", "7", None)
        reply.close()
