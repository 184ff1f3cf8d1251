"""Which connection a call goes out on, how many there are, and how long they are kept."""

import asyncio
import socket
from typing import Any

import pytest
from http_server import LIMITS, Peer, RawServer, ask, close, gone, says, upstream, whole
from msgspec.structs import replace

from tallystick.base.errors import UpstreamFailed
from tallystick.gateway.http import pool
from tallystick.gateway.http.address import Address
from tallystick.gateway.http.connection import Connection, Waits
from tallystick.gateway.http.dial import Dialler
from tallystick.gateway.upstream import Upstream
from tests.patience import eventually


async def test_connections_are_used_again(server: RawServer) -> None:
    server.then(*[says(whole())] * 20)
    async with upstream() as caller:
        for _ in range(20):
            assert await ask(caller, server) == (200, b"hello")
    assert server.accepted == 1


async def test_a_connection_that_the_server_closed_is_not_used(server: RawServer) -> None:
    async with upstream() as caller:
        for _ in range(5):
            server.then(says(whole()), close)
            assert await ask(caller, server) == (200, b"hello")
            await asyncio.sleep(0.05)
    assert (server.accepted, len(server.requests)) == (5, 5)


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n", b""], ids=["words", "a close"])
async def test_what_the_event_loop_has_not_come_round_to_is_seen(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    waits = Waits(first_byte_s=1, between_s=1)
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(Address("a", 80, tls=False), waits, lambda _: None), sock=ours
    )
    with theirs:
        assert connection.is_fresh()
        if said:
            theirs.send(said)
        else:
            theirs.shutdown(socket.SHUT_WR)
        assert connection.is_open()
        assert not connection.is_fresh()
        connection.close()
        await asyncio.sleep(0)


async def test_addresses_do_not_share(server: RawServer) -> None:
    async with RawServer() as other, upstream() as caller:
        server.then(*[says(whole(b"one"))] * 3)
        other.then(*[says(whole(b"two"))] * 3)
        for _ in range(3):
            assert (await ask(caller, server))[1] == b"one"
            assert (await ask(caller, other))[1] == b"two"
        assert (server.accepted, other.accepted) == (1, 1)


async def test_never_more_connections_than_allowed_and_the_others_wait(server: RawServer) -> None:
    running = most = 0

    async def count(peer: Peer) -> None:
        nonlocal running, most
        while True:
            await peer.request()
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.02)
            running -= 1
            await peer.say(whole())

    server.then(*[count] * 50)
    async with upstream(replace(LIMITS, connections_max=3)) as caller:
        answers = await asyncio.gather(*(ask(caller, server) for _ in range(20)))
        assert set(answers) == {(200, b"hello")}
    assert (most, server.accepted) == (3, 3)


async def test_one_who_stops_waiting_leaves_the_line_to_the_others(server: RawServer) -> None:
    server.then(says(0.2, whole()), says(whole()))
    async with upstream(replace(LIMITS, connections_max=1)) as caller:
        calls = [asyncio.create_task(ask(caller, server)) for _ in range(3)]
        await eventually(lambda: len(server.requests) == 1)
        calls[1].cancel()
        assert [await calls[0], await calls[2]] == [(200, b"hello")] * 2
    assert (server.accepted, len(server.requests)) == (1, 2)


async def test_an_idle_connection_gives_way_to_one_that_is_needed(server: RawServer) -> None:
    async with RawServer() as other, upstream(replace(LIMITS, connections_max=1)) as caller:
        server.then(says(whole()), gone)
        other.then(says(whole()), gone)
        await ask(caller, server)
        await ask(caller, other)
        await eventually(lambda: server.ended == 1)
        assert other.ended == 0


async def test_failures_do_not_use_up_the_line(server: RawServer) -> None:
    async with upstream(replace(LIMITS, connections_max=2)) as caller:
        for _ in range(5):
            server.then(says(b"garbage"))
            with pytest.raises(UpstreamFailed):
                await ask(caller, server)
            with pytest.raises(UpstreamFailed):
                await caller.post("http://127.0.0.1:1", "/", b"", None)
        server.then(says(whole()))
        assert await ask(caller, server) == (200, b"hello")
        assert caller._pool._slots.taken == 0


async def test_a_connection_that_ends_before_it_is_used(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    dial = Dialler.dial

    async def dawdle(*arguments: Any) -> Any:
        made = await dial(*arguments)
        await eventually(lambda: not made.is_open())
        await asyncio.sleep(0.01)
        return made

    monkeypatch.setattr(Dialler, "dial", dawdle)
    server.then(close)
    async with upstream() as caller:
        with pytest.raises(UpstreamFailed) as failure:
            await ask(caller, server)
        assert failure.type is UpstreamFailed
        assert caller._pool._slots.taken == 0


async def test_connections_that_nobody_needs_are_closed(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_IDLE_S", 0.1)
    server.then(says(whole()), gone)
    async with upstream(replace(LIMITS, between_s=1)) as caller:
        await ask(caller, server)
        await eventually(lambda: server.ended == 1)
        await eventually(lambda: not caller._pool._idle)


async def test_a_stop_breaks_off_what_runs(server: RawServer) -> None:
    server.then(says(5.0))
    caller = Upstream(LIMITS)
    await caller.start()
    call = asyncio.create_task(ask(caller, server))
    await eventually(lambda: len(server.requests) == 1)
    await caller.stop()
    with pytest.raises(UpstreamFailed):
        await call
