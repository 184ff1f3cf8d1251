"""Mails to people: written with what they are about, sent afterwards."""

import asyncpg

from tallystick.base.database import load_queries

queries = load_queries(__file__, "mail.sql")


async def write_mail(
    connection: asyncpg.Connection, recipient: str, *, subject: str, body: str, key: str | None = None
) -> None:
    """Keep a mail of plain text in the caller's transaction: it is sent if that commits. The same `key` is sent once.

    Whoever reads the table reads the mail: a secret in it (an invitation's link) must end soon, and work once."""
    await queries.keep(connection, recipient=recipient, subject=subject, body=body, key=key)
