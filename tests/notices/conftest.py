import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from tallystick.accounts import organization
from tallystick.base.sealed import Sealer
from tallystick.notices import endpoint
from tallystick.notices.delivery import match_notices
from tallystick.notices.endpoint import NewEndpoint
from tallystick.notices.fence import Fence
from tallystick.notices.send import Sender
from tests.notices.receiver import Receiver, receiver


@pytest.fixture
async def org(connection: asyncpg.Connection) -> str:
    made = await organization.create(connection, name="Ada's lab")
    return str(made.id)


@pytest.fixture
def sealer() -> Sealer:
    return Sealer({"test": secrets.token_bytes(32)})


@pytest.fixture
async def shop_hook() -> AsyncIterator[Receiver]:
    """Where the organization wants its notices."""
    async with receiver() as opened:
        yield opened


@pytest.fixture
async def new_endpoint(
    connection: asyncpg.Connection, sealer: Sealer, org: str, shop_hook: Receiver
) -> Callable[..., Awaitable[NewEndpoint]]:
    async def make(url: str | None = None, types: tuple[str, ...] = ("*",), of: str | None = None) -> NewEndpoint:
        return await endpoint.create(
            connection, sealer, organization=of or org, url=url or shop_hook.url(), types=types, by="user_ada"
        )

    return make


@pytest.fixture
async def sender(pool: asyncpg.Pool, sealer: Sealer) -> AsyncIterator[Sender]:
    made = Sender(pool, sealer, Fence(loopback=True), timeout_s=30)
    yield made
    await made.stop()


@pytest.fixture
def deliver(pool: asyncpg.Pool, sender: Sender) -> Callable[[], Awaitable[int]]:
    """One round of the upkeep: match, send what is due, wait for the answers."""

    async def run() -> int:
        await match_notices(pool)
        sent = await sender.send_due()
        await sender.finish()
        return sent

    return run
