"""Run revisions with alembic. A revision is a folder of .sql files, run in the order of their names."""

import asyncio
from pathlib import Path

import asyncpg
import structlog
from alembic import command, op
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

log = structlog.get_logger()

# Any two processes that migrate the same database take turns on this advisory lock.
_MIGRATION_LOCK = 0x7A11_5713
# A table that someone reads for long is waited for so long, and everyone else waits behind; then they all go first.
_LOCK_TIMEOUT_S = 2
_PAUSE_S = 1.0
_ATTEMPTS_MAX = 120


async def upgrade(dsn: str, target: str = "head") -> None:
    """Run every revision up to `target` that the database does not have yet, one process at a time."""
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, async_creator=lambda: asyncpg.connect(dsn)
    )
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql(f"select pg_advisory_lock({_MIGRATION_LOCK})")
            await connection.exec_driver_sql(f"set lock_timeout = '{_LOCK_TIMEOUT_S}s'")
            await connection.commit()
            for attempt in range(1, _ATTEMPTS_MAX + 1):
                try:
                    await connection.run_sync(_upgrade, target)
                except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                    if attempt == _ATTEMPTS_MAX:
                        raise
                    log.warning("migration_waits", error=str(error))
                    await connection.rollback()
                    await asyncio.sleep(_PAUSE_S)
                else:
                    break
            await connection.commit()
    finally:
        await engine.dispose()


def run_folder(revision_file: str, folder: str) -> None:
    """Run the .sql files of a revision's folder, by name, each whole: a prepared statement could hold only one."""
    driver_connection = op.get_bind().connection.driver_connection
    if driver_connection is None:
        raise RuntimeError("migrations need a live connection; offline SQL generation is not supported")
    for path in sorted(Path(revision_file).with_name(folder).glob("*.sql")):
        await_only(driver_connection.execute(path.read_text()))


def _upgrade(connection: Connection, target: str) -> None:
    config = Config()
    config.set_main_option("script_location", "tallystick:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, target)
