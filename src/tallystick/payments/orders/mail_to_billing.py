"""Write a mail to everybody of an organization who may see to its billing."""

import asyncpg

from tallystick.accounts.member import Permission, Role, holds
from tallystick.base.database import load_queries
from tallystick.notices.mail import write_mail

queries = load_queries(__file__, "mail_to_billing.sql")


async def mail_to_billing(
    connection: asyncpg.Connection, organization: str, *, subject: str, body: str, key: str
) -> None:
    """In the caller's transaction. The same `key` is sent once to each of them."""
    roles = [role for role in Role if holds(role, Permission.BILLING)]
    async for row in queries.recipients(connection, organization=organization, roles=roles):
        await write_mail(connection, row["email"], subject=subject, body=body, key=f"{key} {row['id']}")
