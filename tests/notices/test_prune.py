"""What was told long ago is forgotten, but not what must be told once."""

from collections.abc import Awaitable, Callable

import asyncpg

from tallystick.notices.emit import emit
from tallystick.notices.endpoint import NewEndpoint
from tallystick.notices.mail import write_mail
from tallystick.notices.prune import prune_notices


async def age(connection: asyncpg.Connection, days: int) -> None:
    for statement in (
        "update notice set at = at - $1::text::interval",
        "update mail set at = at - $1::text::interval",
        "update webhook_delivery set ended_at = ended_at - $1::text::interval",
    ):
        await connection.execute(statement, f"{days} days")


async def counts(connection: asyncpg.Connection) -> tuple[int, ...]:
    tables = ("notice", "webhook_delivery", "webhook_attempt", "mail")
    return tuple([await connection.fetchval(f"select count(*) from {table}") for table in tables])


async def test_what_ended_goes_after_ninety_days_and_keys_after_a_year(
    pool: asyncpg.Pool, connection: asyncpg.Connection, org: str,
    new_endpoint: Callable[..., Awaitable[NewEndpoint]], deliver: Callable[[], Awaitable[int]],
) -> None:  # fmt: skip
    await new_endpoint()
    await emit(connection, org, "order.paid", {})
    assert await emit(connection, org, "quota.exceeded", {}, key="once")
    await write_mail(connection, "ada@example.com", subject="Low", body="Low.", key="once")
    await write_mail(connection, "ada@example.com", subject="Low", body="Low.")
    await connection.execute("update mail set state = 'sent', sent_at = clock_timestamp()")
    await deliver()
    await age(connection, 89)
    assert (await prune_notices(pool), await counts(connection)) == (0, (2, 2, 2, 2))
    await age(connection, 2)
    assert await prune_notices(pool) > 0
    assert await counts(connection) == (1, 0, 0, 1)
    assert await connection.fetchval("select body || subject from mail") == ""
    assert not await emit(connection, org, "quota.exceeded", {}, key="once")
    await age(connection, 400)
    await prune_notices(pool)
    assert await counts(connection) == (0, 0, 0, 0)


async def test_what_still_waits_stays(
    pool: asyncpg.Pool, connection: asyncpg.Connection, org: str,
    new_endpoint: Callable[..., Awaitable[NewEndpoint]],
) -> None:  # fmt: skip
    await new_endpoint()
    await emit(connection, org, "order.paid", {})
    await write_mail(connection, "ada@example.com", subject="Low", body="Low.")
    await age(connection, 500)
    await prune_notices(pool)
    assert await counts(connection) == (1, 0, 0, 1)
