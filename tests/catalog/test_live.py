"""A process's Book follows what others publish, and outlives a database that does not answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from tallystick.base.changes import Changes
from tallystick.base.errors import Unavailable
from tallystick.catalog.document import CredentialReference
from tallystick.catalog.errors import ProviderNotReady
from tallystick.catalog.live import LiveBook
from tallystick.catalog.publish import apply
from tests.patience import eventually

CATALOG = Path(__file__).with_name("small.toml").read_text()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@asynccontextmanager
async def live(dsn: str, pool: asyncpg.Pool, credentials) -> AsyncIterator[LiveBook]:
    changes = Changes(dsn, poll_interval_s=0.05)
    book = LiveBook(pool, changes, credentials)
    await changes.start()
    await book.start()
    try:
        yield book
    finally:
        await book.stop()
        await changes.stop()


async def test_what_is_published_is_current_soon(dsn: str, pool: asyncpg.Pool) -> None:
    async with live(dsn, pool, lambda _reference: "secret") as book:
        assert list(book.current.packs()) == []
        async with pool.acquire() as connection:
            await apply(connection, CATALOG, now=NOW)
        await eventually(lambda: len(book.current.packs()) == 1)
        assert book.current.candidates("fast", NOW)[0].credential == "secret"


async def test_secrets_may_be_looked_up_asynchronously(dsn: str, pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=NOW)

    async def look_up(reference: CredentialReference) -> str | None:
        return "sealed secret" if reference.env == "ACME_KEY" else None

    async with live(dsn, pool, look_up) as book:
        assert book.current.candidates("fast", NOW)[0].credential == "sealed secret"


async def test_a_missing_secret_is_loud_and_the_model_not_called(dsn: str, pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=NOW)
    async with live(dsn, pool, lambda _reference: None) as book:
        with pytest.raises(ProviderNotReady):
            book.current.candidates("fast", NOW)


async def test_a_failed_reading_keeps_the_last_book_and_is_tried_again(dsn: str, pool: asyncpg.Pool) -> None:
    failures = 0
    is_away = False

    def look_up(_reference: CredentialReference) -> str | None:
        nonlocal failures
        if is_away:
            failures += 1
            raise Unavailable("The vault is away.")
        return "secret"

    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=NOW)
        async with live(dsn, pool, look_up) as book:
            is_away = True
            await apply(connection, CATALOG.replace("amount = 5", "amount = 6"), now=NOW)
            await eventually(lambda: failures > 0)
            assert book.current.pack("starter").amount_minor == 500
            is_away = False
            await eventually(lambda: book.current.pack("starter").amount_minor == 600)


async def test_a_book_that_was_not_started_says_so(dsn: str, pool: asyncpg.Pool) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = LiveBook(pool, Changes(dsn), lambda _reference: None).current
