"""Who an organization is at Stripe: one customer in test mode, another in live mode."""

import asyncpg

from tallystick.base.database import load_queries

_queries = load_queries(__file__, "customer.sql")


async def find_customer(
    connection: asyncpg.Connection | asyncpg.Pool, organization: str, *, livemode: bool
) -> str | None:
    """None as long as it has not been made."""
    found: str | None = await _queries.find(connection, organization=organization, livemode=livemode)
    return found


async def is_customer(connection: asyncpg.Connection | asyncpg.Pool, customer: str) -> bool:
    """Whether this customer of Stripe's is an organization of ours."""
    return bool(await _queries.is_customer(connection, id=customer))
