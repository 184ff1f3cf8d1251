"""Events that were set aside: tried again, or dismissed by an operator who has seen to them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, NotFound
from tallystick.base.ids import is_text_id
from tallystick.ledger import audit
from tallystick.payments.ending import EventState
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.words import words

queries = load_queries(__file__, "set_aside.sql")

_REASON_MAX: Final = 300


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is 'received' as long as it is tried again."""

    id: str
    type: str
    livemode: bool
    state: Literal["received"] | EventState
    reason: str | None
    attempts: int
    received_at: datetime


async def set_aside(connection: asyncpg.Connection | asyncpg.Pool, *, limit: int = 100) -> Sequence[StoredEvent]:
    """Those that wait for a person, and those that fail again and again; the newest first."""
    return [msgspec.convert(dict(row), StoredEvent) async for row in queries.set_aside(connection, row_limit=limit)]


async def retry(pool: asyncpg.Pool, inbox: Inbox, event_id: str, *, by: str) -> StoredEvent:
    """Act on it once more: what did not fit may fit by now. Raises NotFound, and Conflict for one that is done."""
    async with pool.acquire() as connection, connection.transaction():
        before = await _lock(connection, event_id)
        await queries.reopen(connection, id=event_id)
        await _record(connection, "event.retried", before, by, {})
    await inbox.process_open()
    return msgspec.convert(dict(await queries.find(pool, id=event_id)), StoredEvent)


async def dismiss(pool: asyncpg.Pool, event_id: str, *, reason: str, by: str) -> None:
    """Nothing is to be done for it any more. Raises InvalidInput, NotFound, and Conflict for one that is done."""
    reason = words(reason, "reason", _REASON_MAX)
    async with pool.acquire() as connection, connection.transaction():
        before = await _lock(connection, event_id)
        await queries.dismiss(connection, id=event_id, reason=f"dismissed by {by}: {reason}")
        await _record(connection, "event.dismissed", before, by, {"reason": reason})


async def _lock(connection: asyncpg.Connection, event_id: str) -> StoredEvent:
    row = await queries.lock(connection, id=event_id) if is_text_id(event_id) else None
    if row is None:
        raise NotFound("There is no such event.")
    if row["state"] not in {"quarantined", "received"}:
        raise Conflict(f"This event is {row['state']} already: nothing waits for it.")
    return msgspec.convert(dict(row), StoredEvent)


async def _record(
    connection: asyncpg.Connection, act: str, before: StoredEvent, by: str, after: dict[str, object]
) -> None:
    was = {"type": before.type, "state": before.state, "reason": before.reason}
    await audit.record(connection, act, by=by, subject=before.id, before=was, after=after)
