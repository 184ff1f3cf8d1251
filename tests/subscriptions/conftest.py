from collections.abc import Awaitable, Callable

import asyncpg
import msgspec
import pytest

from tallystick.accounts import organization
from tallystick.accounts.organization import Organization
from tallystick.catalog.publish import apply
from tallystick.constraints.constraints import Constraints
from tests.subscriptions.shop import CATALOG, LONG_AGO


@pytest.fixture
async def acme(connection: asyncpg.Connection, shop: None) -> Organization:
    return await organization.create(connection, name="Acme")


@pytest.fixture
async def other(connection: asyncpg.Connection, shop: None) -> Organization:
    return await organization.create(connection, name="Other")


@pytest.fixture
async def shop(connection: asyncpg.Connection) -> None:
    """The plans above, sold since long ago."""
    await apply(connection, CATALOG, now=LONG_AGO)


class Told:
    """What was published for one organization: versions of the document, announcements of it, lines of history."""

    def __init__(self, connection: asyncpg.Connection, organization_id: str) -> None:
        self._connection = connection
        self._id = organization_id

    async def __call__(self) -> tuple[int, int, int]:
        row = await self._connection.fetchrow(
            """select
                coalesce((select version from constraints where organization = $1), 0),
                (select count(*) from change where kind = 'constraints' and subject = $1),
                (select count(*) from subscription_event where organization = $1)""",
            self._id,
        )
        return tuple(row)


@pytest.fixture
def told(connection: asyncpg.Connection, acme: Organization) -> Callable[[], Awaitable[tuple[int, int, int]]]:
    return Told(connection, acme.id)


@pytest.fixture
def document(connection: asyncpg.Connection, acme: Organization) -> Callable[[], Awaitable[Constraints]]:
    async def read() -> Constraints:
        text = await connection.fetchval("select document from constraints where organization = $1", acme.id)
        return msgspec.json.decode(text, type=Constraints)

    return read
