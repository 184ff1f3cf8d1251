"""A whole API on a real socket, with the offline Stripe behind it, and somebody who is signed in."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import uvicorn

from tallystick.accounts import user
from tallystick.accounts.authenticate import KeyRing
from tallystick.accounts.organization import resolve_payer
from tallystick.api.app import create_api
from tallystick.api.dependencies import ApiDependencies
from tallystick.base.changes import Changes
from tallystick.base.database import open_pool
from tallystick.base.ids import new_id
from tallystick.base.money import parse_amount
from tallystick.catalog.live import LiveBook
from tallystick.catalog.publish import apply
from tallystick.library.credit_service import CreditService
from tallystick.payments.orders.grant import grant
from tallystick.payments.stripe.client import StripeClient
from tallystick.reservations.lanes import Lanes
from tests.patience import PATIENCE_S

SERVICE_TOKEN = "service-token-of-the-tests"
CATALOG = '[[pack]]\nslug = "standard"\nname = "Standard"\namount = 25\ncredits = 25\n'
CATALOG += '[[coupon]]\ncode = "HALF"\npercent_off = 50\n[[coupon]]\ncode = "FREE"\nfree_credits = 5\n'


@dataclass
class Server:
    """Where it listens, and the session of the one user there is."""

    url: str
    user_id: str
    organization: str
    session: str


@pytest.fixture
async def ada(pool: asyncpg.Pool) -> user.Welcome:
    return await user.sign_up(pool, email="ada@example.com", password="correct horse")


@pytest.fixture
def fund(pool: asyncpg.Pool) -> Callable[..., Awaitable[None]]:
    """Give a user credits to spend."""

    async def give(user_id: str, amount: str = "5") -> None:
        async with pool.acquire() as connection:
            _organization, account = await resolve_payer(connection, user_id)
        await grant(pool, account, parse_amount(amount), operation=new_id(), source="operator:tests")

    return give


@pytest.fixture
async def service(dsn: str, pool: asyncpg.Pool) -> AsyncIterator[CreditService]:
    lanes = Lanes(dsn)
    await lanes.start()
    yield CreditService(pool, lanes)
    await lanes.stop()


@contextlib.asynccontextmanager
async def _api(dsn: str, stripe_address: str) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(await open_pool(dsn))
        lanes, changes = Lanes(dsn), Changes(dsn)
        book = LiveBook(pool, changes, lambda _reference: None)
        for part in (lanes, changes, book):
            await part.start()
            stack.push_async_callback(part.stop)
        stripe = StripeClient("sk_test_of_the_tests", api_base=stripe_address)
        stack.push_async_callback(stripe.close)
        yield create_api(
            ApiDependencies(
                pool=pool,
                lanes=lanes,
                changes=changes,
                keyring=KeyRing(pool, changes),
                book=lambda: book.current,
                public_url="http://127.0.0.1:8080",
                stripe=stripe,
                webhook_secrets=("whsec_of_the_tests",),
                service_tokens=("an-older-token-still-in-use", SERVICE_TOKEN),
            )
        )


class _Thread(threading.Thread):
    """Serves in a thread of its own, so that a client that blocks does not block it."""

    def __init__(self, dsn: str, stripe_address: str) -> None:
        super().__init__(daemon=True)
        self._dsn, self._stripe_address = dsn, stripe_address
        self.listening = threading.Event()
        self.server: uvicorn.Server | None = None

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with _api(self._dsn, self._stripe_address) as app:
            self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
            announcing = asyncio.create_task(self._announce())
            await self.server.serve()
            await announcing

    async def _announce(self) -> None:
        while self.server is None or not self.server.started:
            await asyncio.sleep(0.01)
        self.listening.set()


@pytest.fixture
async def server(dsn: str, pool: asyncpg.Pool, stripe_address: str, ada: user.Welcome) -> AsyncIterator[Server]:
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=datetime.now(UTC), dry_run=False)
    thread = _Thread(dsn, stripe_address)
    thread.start()
    assert await asyncio.to_thread(thread.listening.wait, PATIENCE_S)
    assert thread.server is not None
    port = thread.server.servers[0].sockets[0].getsockname()[1]
    yield Server(f"http://127.0.0.1:{port}", ada.user_id, ada.organization_id, ada.session.token)
    thread.server.should_exit = True
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not thread.is_alive()
