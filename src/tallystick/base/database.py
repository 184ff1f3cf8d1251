"""Open the one database, and load the named queries that stand in .sql files beside the verbs that run them."""

from pathlib import Path
from typing import Any, Final

import aiosql
import asyncpg

AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises where there is no answer from the database: it is gone, is going, or cannot do this now."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no type stubs
    """A pooled connection that is handed on as it is: nothing here uses session state, so the pool's four
    statements of clean-up after every use would only cost a round trip."""

    def get_reset_query(self) -> str:
        return ""


async def open_pool(dsn: str, *, size_max: int = 10, application: str = "tallystick") -> asyncpg.Pool:
    """A pool on `dsn`; the caller closes it."""
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size_max,
        connection_class=_Connection,
        server_settings={"application_name": application},
    )


def load_queries(module_file: str, name: str) -> Any:
    """The named queries of the .sql file `name` that stands beside `module_file`, as methods of one object.

    Any: the methods come from the file, so that no type checker can know them.
    """
    return aiosql.from_path(Path(module_file).with_name(name), "asyncpg", mandatory_parameters=False)
