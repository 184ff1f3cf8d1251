"""Bring a database to this version's schema, or see that it has it: which nearly every start finds."""

from pathlib import Path
from typing import Final

import asyncpg

from tallystick.base.errors import Misconfigured

_VERSIONS: Final = Path(__file__).parents[1] / "migrations" / "versions"


async def migrate(dsn: str) -> None:
    """Run every revision that the database does not have yet; safe to call from many processes at once.

    Raises Misconfigured where a newer version of this program has already migrated it further.
    """
    newest = max(path.stem.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))
    found = await _revision(dsn)
    if found == newest:
        return
    if found is not None and found > newest:
        raise Misconfigured(
            f"The database has revision {found}, this version of Tallystick knows {newest}: run a newer version."
        )
    # Alembic and SQLAlchemy take longer to import than most commands take to run.
    from tallystick.base.revision import upgrade  # noqa: PLC0415

    await upgrade(dsn)


async def _revision(dsn: str) -> str | None:
    connection = await asyncpg.connect(dsn)
    try:
        if await connection.fetchval("select to_regclass('alembic_version')") is None:
            return None
        revision: str | None = await connection.fetchval("select version_num from alembic_version")
        return revision
    finally:
        await connection.close()
