"""Read the catalog: the Book of what is for sale, and any version there ever was."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.catalog.book import Book
from tallystick.catalog.document import CredentialReference, EntryKind, Provider, decode
from tallystick.catalog.plan import Plan
from tallystick.catalog.timeline import Version

queries = load_queries(__file__, "read.sql")
log = structlog.get_logger()

Credentials = Callable[[CredentialReference], str | Awaitable[str | None] | None]
"""Finds the secret that a reference names; None where this process does not have it. May be async."""

# A process whose clock is behind the database's must still find the version that was in force by its own clock.
_CLOCK_SKEW_MAX: Final = timedelta(hours=1)


async def load_book(connection: asyncpg.Connection, credentials: Credentials) -> Book:
    """The Book of the catalog as it is now, for this moment and every later one."""
    since: datetime = await queries.clock(connection)
    found = await versions(connection, since - _CLOCK_SKEW_MAX)
    documents = (version.document for version in found)
    named = {document.credential for document in documents if isinstance(document, Provider) and document.credential}
    secrets: dict[CredentialReference, str] = {}
    for reference in named:
        answer = credentials(reference)
        secret = await answer if inspect.isawaitable(answer) else answer
        if secret:
            secrets[reference] = secret
    book = Book(found, secrets)
    for name in book.unready_providers(since):
        log.warning("provider_without_credential", provider=name)
    return book


async def versions(connection: asyncpg.Connection, since: datetime) -> list[Version]:
    """Of every name, the version in force at `since` and all later ones."""
    return [_version(row) async for row in queries.versions(connection, since=since)]


async def version(connection: asyncpg.Connection, id_: int) -> Version:
    """The version with this id, in force or long replaced. Raises NotFound."""
    row = await queries.version(connection, id=id_)
    if row is None:
        raise NotFound(f"There is no catalog version {id_}.")
    return _version(row)


async def plan_version(connection: asyncpg.Connection, id_: int) -> Plan:
    """The plan that a subscription pins, as it was when it was published. Raises NotFound."""
    found = (await version(connection, id_)).document
    if not isinstance(found, Plan):
        raise NotFound(f"Catalog version {id_} is not a plan.")
    return found


async def history(connection: asyncpg.Connection, kind: EntryKind, name: str) -> Sequence[Version]:
    """Every version of one name, the newest first; empty where it was never published."""
    return [_version(row) async for row in queries.history(connection, kind=kind, name=name)]


def _version(row: asyncpg.Record) -> Version:
    return Version(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        effective_from=row["effective_from"],
        document=decode(row["kind"], row["document"]),
        retired=row["retired"],
        source=row["source"],
        published_at=row["published_at"],
    )
