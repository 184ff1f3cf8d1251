"""Run a command's work for the organization that its argument means."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from tallystick.accounts.organization import resolve_payer
from tallystick.cli.output import with_books
from tallystick.settings import Settings

Result = TypeVar("Result")


def run_for(org: str, work: Callable[[asyncpg.Connection, str], Awaitable[Result]]) -> Result:
    """Open the database and call `work` with a connection and the id of the organization that `org` names."""

    async def run(pool: asyncpg.Pool, _settings: Settings) -> Result:
        async with pool.acquire() as connection:
            payer, _account = await resolve_payer(connection, org)
            return await work(connection, payer)

    return with_books(run)


async def named(connection: asyncpg.Connection, org: str | None) -> str | None:
    """The id of the organization that an option names, which may be a user's. Raises NotFound: of one that is none
    nothing would be found, as if it had done nothing."""
    if org is None:
        return None
    organization, _account = await resolve_payer(connection, org)
    return organization
