"""Publish a catalog: append what changed, retire what left the file, tell every process. History is never edited."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.catalog.book import Book
from tallystick.catalog.difference import Difference
from tallystick.catalog.document import encode
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.file import Catalog, parse
from tallystick.catalog.losses import losses, sentences
from tallystick.catalog.read import versions
from tallystick.catalog.timeline import Change, Version, as_version, by_name, changes, latest
from tallystick.ledger import audit

queries = load_queries(__file__, "publish.sql")

FILE: Final = "file"
OPERATOR: Final = "operator"


async def apply(
    connection: asyncpg.Connection,
    catalog: str | Catalog,
    *,
    now: datetime,
    dry_run: bool = False,
    by: str = OPERATOR,
) -> Difference:
    """Make the catalog say from `now` on what the file says (its text, or what `file.parse` made of it).

    What once came from a file and is not in this one is retired; imported costs and prices set by hand stay. Raises
    CatalogError, with nothing published, when the file is wrong, would change the past, or would newly sell
    something below its cost. Applying the same file again changes nothing.
    """
    wanted = parse(catalog) if isinstance(catalog, str) else catalog
    async with connection.transaction():
        await queries.take_turn(connection)
        published = await versions(connection, now)
        appended = _changes(published, wanted, now)
        return await publish(connection, published, appended, now=now, dry_run=dry_run, by=by)


async def publish(
    connection: asyncpg.Connection,
    published: Sequence[Version],
    appended: Sequence[Change],
    *,
    now: datetime,
    dry_run: bool,
    refuse_losses: bool = True,
    by: str,
) -> Difference:
    """Append these changes to what is `published`; the caller holds the turn, in a transaction.

    A loss that was there before is warned of; a new one is refused, or, where `refuse_losses` is off, warned of too.
    """
    next_id = max((version.id for version in published), default=0) + 1
    before = Book(published)
    after = Book([*published, *(as_version(change, next_id + n) for n, change in enumerate(appended))])
    known, found = losses(before, now), losses(after, now)
    if refuse_losses and (new := found.keys() - known.keys()):
        raise CatalogError(sentences(new))
    warnings = [*sentences(found), *_unsold(after, now)]
    difference = Difference(changes=tuple(appended), warnings=tuple(warnings), now=now)
    if appended and not dry_run:
        for change, line in zip(appended, difference.lines(), strict=True):
            await _append(connection, change)
            await audit.record(
                connection, "catalog.published", by=by, subject=f"{change.kind} {change.name}", after={"change": line}
            )
        await queries.announce(connection)
    return difference


def _changes(published: Iterable[Version], catalog: Catalog, now: datetime) -> list[Change]:
    histories = by_name(published)
    found: list[Change] = []
    problems: list[str] = []
    for kind, names in catalog.items():
        gone = [name for name, history in histories[kind].items() if _from_file(history)]
        for name in sorted({*names, *gone}):
            try:
                history = histories[kind].get(name, [])
                found += changes(kind, name, history, names.get(name, []), source=FILE, now=now)
            except CatalogError as error:
                problems.extend(error.problems)
    if problems:
        raise CatalogError(problems)
    return found


def _from_file(history: Sequence[Version]) -> bool:
    last = latest(history)
    return last is not None and last.source == FILE


async def _append(connection: asyncpg.Connection, change: Change) -> None:
    version = as_version(change, id_=0)
    await queries.append(
        connection,
        kind=version.kind,
        name=version.name,
        effective_from=version.effective_from,
        document=encode(version.document),
        retired=version.retired,
        source=version.source,
    )


def _unsold(book: Book, now: datetime) -> list[str]:
    return [
        f"route {alias}: {target} cannot be sold yet, for it has no cost profile or no price"
        for alias, targets in book.unsold_targets(now).items()
        for target in targets
    ]
