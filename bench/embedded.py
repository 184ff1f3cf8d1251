"""The server that everything is measured on: an embedded PostgreSQL in a fresh folder, fsync on."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from bench.effort import say
from bench.processes import Tree
from tallystick.base.embedded_postgres import EmbeddedPostgres
from tallystick.base.migrate import migrate


@asynccontextmanager
async def embedded_postgres() -> AsyncIterator[tuple[str, Tree]]:
    """The DSN of a migrated database, and the server's processes."""
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        # PostgreSQL may run as another user, who has to come through here.
        Path(name).chmod(0o711)  # noqa: ASYNC240 - nothing else runs yet
        async with EmbeddedPostgres(Path(name), on_progress=say) as database:
            if database.pid is None:
                raise RuntimeError("the embedded PostgreSQL is up and does not tell its process")
            await migrate(database.dsn)
            await _allow_checkpoints(database.dsn, database.data_dir)
            yield database.dsn, Tree(database.pid)


async def _allow_checkpoints(dsn: str, data_dir: Path) -> None:
    """Checkpoints between rounds are for a superuser or whom one allows them."""
    password = (data_dir / "postgres" / "superuser_password").read_text().strip()
    role = urlsplit(dsn).username
    admin = await asyncpg.connect(dsn, user="postgres", password=password)
    try:
        await admin.execute(f'grant pg_checkpoint to "{role}"')
    finally:
        await admin.close()


async def add_database(dsn: str, name: str) -> str:
    """The DSN of another migrated database on the same server."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'create database "{name}"')
    finally:
        await connection.close()
    added = f"{dsn.rsplit('/', 1)[0]}/{name}"
    await migrate(added)
    return added
