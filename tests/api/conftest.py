"""The API as an application in this process, on a database of its own."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest

from tallystick.accounts.authenticate import KeyRing
from tallystick.api.app import create_api
from tallystick.api.dependencies import ApiDependencies
from tallystick.base.changes import Changes
from tallystick.base.database import open_pool
from tallystick.base.errors import Unauthorized
from tallystick.catalog.book import Book
from tallystick.reservations.lanes import Lanes


def no_book() -> Book:
    raise AssertionError("signing in reads no prices")


@pytest.fixture
async def new_client(dsn: str, pool: asyncpg.Pool) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """A client of an API with these dependencies, with cookies of its own."""
    async with contextlib.AsyncExitStack() as stack:

        def make(public_url: str = "http://pay.example.com", **options: Any) -> httpx.AsyncClient:
            changes = Changes(dsn)
            dependencies = ApiDependencies(
                pool=pool, lanes=Lanes(dsn), changes=changes, keyring=KeyRing(pool, changes), book=no_book,
                public_url=public_url, **options,
            )  # fmt: skip
            app = create_api(dependencies)
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=public_url)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def program(new_client: Callable[..., httpx.AsyncClient]) -> httpx.AsyncClient:
    return new_client()


@pytest.fixture
def caller_of(dsn: str, pool: asyncpg.Pool) -> Callable[[str], Awaitable[str | None]]:
    """The id of the key that this secret is, as a key ring tells that remembers nothing."""
    ring = KeyRing(pool, Changes(dsn))

    async def ask(secret: str) -> str | None:
        try:
            return (await ring.caller(secret)).key
        except Unauthorized:
            return None

    return ask


@pytest.fixture
async def new_api(dsn: str) -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """A client of the whole API, with writers of its own, for what moves money."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**options: Any) -> httpx.AsyncClient:
            api_pool = await stack.enter_async_context(await open_pool(dsn, application="tallystick-api-under-test"))
            lanes, changes = Lanes(dsn), Changes(dsn)
            await lanes.start()
            stack.push_async_callback(lanes.stop)
            dependencies = ApiDependencies(
                pool=api_pool, lanes=lanes, changes=changes, keyring=KeyRing(api_pool, changes),
                public_url="http://pay.example.com", **{"book": no_book, **options},
            )  # fmt: skip
            app = create_api(dependencies)
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pay.example.com")
            return await stack.enter_async_context(client)

        yield make
