"""Mails to people: written with what they are about, sent afterwards."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, NotFound

queries = load_queries(__file__, "mail.sql")

State = Literal["waiting", "sent", "failed"]


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """`problem` is what the last attempt met; `retry_at` when the next one is due, where there is to be one."""

    seq: int
    recipient: str
    subject: str
    body: str
    state: State
    attempts: int
    problem: str | None
    at: datetime
    retry_at: datetime | None
    sent_at: datetime | None


async def write_mail(
    connection: asyncpg.Connection, recipient: str, *, subject: str, body: str, key: str | None = None
) -> None:
    """Keep a mail of plain text in the caller's transaction: it is sent if that commits. The same `key` is sent once.

    Whoever reads the table reads the mail: a secret in it (an invitation's link) must end soon, and work once."""
    await queries.keep(connection, recipient=recipient, subject=subject, body=body, key=key)


async def newest(connection: asyncpg.Connection, *, state: State | None = None, limit: int = 50) -> Sequence[Mail]:
    """The newest first, for an operator."""
    return [msgspec.convert(dict(row), Mail) async for row in queries.newest(connection, state=state, row_limit=limit)]


async def find(connection: asyncpg.Connection, seq: int) -> Mail:
    """Raises NotFound."""
    row = await queries.find(connection, seq=seq)
    if row is None:
        raise NotFound("There is no such mail.")
    return msgspec.convert(dict(row), Mail)


async def retry(connection: asyncpg.Connection, seq: int) -> Mail:
    """Send a mail that failed, or waits, at the next chance. Raises NotFound, Conflict for one that was sent."""
    if (await find(connection, seq)).state == "sent":
        raise Conflict("This mail was sent already.")
    await queries.retry(connection, seq=seq)
    return await find(connection, seq)
