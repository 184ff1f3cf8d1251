import asyncio
from decimal import Decimal

import httpx
import pytest

from tallystick import (
    AsyncCreditClient,
    Conflict,
    CreditClient,
    Forbidden,
    InsufficientCreditsError,
    InvalidAmount,
    InvalidInput,
    NotFound,
    Unauthorized,
    Unavailable,
)
from tallystick.library import remote
from tallystick.library.answers import DeductFailure, Deduction

SERVICE_TOKEN = "service-token-of-the-tests"


@pytest.fixture(params=["sync", "async"])
def client(request, server):
    """Both clients, asked in the same way."""
    opened = []

    def make(url=server.url, **tokens):
        made = CreditClient(url, **tokens) if request.param == "sync" else AsyncCreditClient(url, **tokens)
        opened.append(made)

        async def ask(method, *args, **kwargs):
            if request.param == "async":
                return await getattr(made, method)(*args, **kwargs)
            return await asyncio.to_thread(getattr(made, method), *args, **kwargs)

        return ask

    yield make
    for made in opened:
        asyncio.run(made.close()) if request.param == "async" else made.close()


@pytest.fixture
def service(client):
    return client(service_token=SERVICE_TOKEN)


async def test_the_whole_story_with_a_session(client, server, fund):
    session = client(session_token=server.session)
    await fund(server.user_id)
    assert (await session("get_balance")).balance == 5
    assert (await session("get_balance", server.user_id)).available == 5
    started = await session("purchase", server.user_id, 25)
    assert (started.session_id[:8], started.checkout_url[:7]) == ("cs_test_", "http://")
    assert (await session("purchase", pack="standard")).order_id != started.order_id
    [line] = (await session("history", limit=5)).transactions
    assert (line.type, line.amount) == ("grant", 5)


async def test_the_whole_story_with_a_service_token(service, server, fund):
    await fund(server.user_id)
    done = await service("deduct", server.user_id, 0.05, "call-1")
    assert (done.deducted, done.balance) == (Decimal("0.05"), Decimal("4.95"))
    assert await service("deduct", server.user_id, 0.05, "call-1") == done
    found = await service("get_balance", server.user_id)
    assert (found.balance, found.last_deduction_at is None, found.last_purchase_at) == (Decimal("4.95"), False, None)
    page = await service("history", server.user_id, only="deduction")
    assert [(line.id, line.amount) for line in page.transactions] == [(done.id, Decimal("-0.05"))]
    assert (await service("purchase", server.user_id, 25)).session_id.startswith("cs_test_")


async def test_errors_are_the_classes_that_the_service_raises(client, service, server, fund):
    await fund(server.user_id, "0.03")
    with pytest.raises(InsufficientCreditsError) as short:
        await service("deduct", server.user_id, Decimal("0.05"))
    assert (short.value.balance_nano, short.value.required) == (30_000_000, Decimal("0.05"))
    await service("deduct", server.user_id, 0.01, "call-1")
    with pytest.raises(Conflict):
        await service("deduct", server.user_id, 0.02, "call-1")
    with pytest.raises(NotFound):
        await service("deduct", "user_nobody", 1)
    with pytest.raises(InvalidAmount, match="amount"):
        await service("deduct", server.user_id, -1)
    with pytest.raises(InvalidInput) as wrong:
        await service("deduct", server.user_id, 0.01, "x" * 201)
    assert wrong.value.field == "request_id"
    with pytest.raises(Unauthorized):
        await client(service_token="not-an-accepted-token")("deduct", server.user_id, 1)
    with pytest.raises(Unauthorized):
        await client()("get_balance")
    with pytest.raises(NotFound):
        await client(session_token=server.session)("get_balance", "user_somebody_else")


async def test_a_batch_has_a_result_for_each(service, server, fund):
    await fund(server.user_id, "1")
    done = await service(
        "deduct_batch",
        [
            {"user_id": server.user_id, "amount": 0.4},
            Deduction(user_id=server.user_id, amount=Decimal(7), request_id="b"),
            {"user_id": "user_nobody", "amount": 0.1},
            {"user_id": server.user_id, "amount": float("nan")},
        ],
    )
    assert done.results[0].balance == Decimal("0.60")
    assert [type(result.error) for result in done.failed] == [InsufficientCreditsError, NotFound, InvalidAmount]
    assert isinstance(done.results[1], DeductFailure)
    assert (done.results[1].error.required, done.results[1].request_id) == (Decimal(7), "b")


async def test_a_server_that_is_away_is_unavailable(client, unused_tcp_port):
    away = client(f"http://127.0.0.1:{unused_tcp_port}", service_token=SERVICE_TOKEN)
    with pytest.raises(Unavailable, match="could not be reached"):
        await away("deduct", "user_x", 1)


async def test_an_answer_that_is_lost_is_asked_for_again_and_charged_once(client, server, fund):
    """A proxy that forwards the first request and cuts the connection before the answer."""
    await fund(server.user_id)
    bodies = []

    async def forward(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        bodies.append(await reader.readexactly(length))
        async with httpx.AsyncClient() as http:
            answer = await http.post(
                f"{server.url}/api/credits/deduct",
                content=bodies[-1],
                headers={"x-tallystick-services-token": SERVICE_TOKEN},
            )
        if len(bodies) > 1:
            length = len(answer.content)
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (answer.status_code, length) + answer.content)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        done = await client(f"http://127.0.0.1:{port}", service_token=SERVICE_TOKEN)("deduct", server.user_id, 1)
    assert (done.balance, len(bodies), bodies[0] == bodies[1]) == (4, 2, True)


async def test_what_is_not_the_credits_api_is_said_so(client):
    async def teapot(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 418 X\r\ncontent-length: 5\r\nconnection: close\r\n\r\nshort")
        writer.close()

    async with await asyncio.start_server(teapot, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="418"):
            await client(f"http://127.0.0.1:{port}")("get_balance")


def test_the_error_of_a_role_is_forbidden():
    body = b'{"error": {"code": "forbidden", "message": "no", "roles": ["owner"]}}'
    told = remote.error(403, body)
    assert (type(told), told.details["roles"]) == (Forbidden, ["owner"])
