"""Deliveries: which notice was sent to which endpoint, with what result; make them, read them, send them again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, NotFound
from tallystick.base.ids import is_text_id, text_id
from tallystick.ledger import audit
from tallystick.notices import endpoint
from tallystick.notices.notice_type import TEST

queries = load_queries(__file__, "delivery.sql")

_BATCH: Final = 500

State = Literal["waiting", "delivered", "failed"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is None where no answer came; `answer` is its beginning, or why there was none."""

    at: datetime
    status: int | None
    ms: int
    answer: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """`message` is the notice's id, the same in every attempt; `attempts` those since it was made or replayed."""

    id: str
    message: str
    type: str
    state: State
    attempts: int
    due_at: datetime | None
    at: datetime
    log: list[Attempt]


async def match_notices(pool: asyncpg.Pool) -> int:
    """Make the deliveries of new notices, for every enabled endpoint that wants them; returns how many were made. May
    run at any time, twice, on several hosts at once."""
    made = 0
    while True:
        row = await queries.match(pool, most=_BATCH)
        made += int(row["deliveries"])
        if row["notices"] < _BATCH:
            return made


async def of_endpoint(
    connection: asyncpg.Connection,
    organization: str,
    endpoint_id: str,
    *,
    state: State | None = None,
    before: str | None = None,
    limit: int = 50,
) -> Sequence[Delivery]:
    """Of one endpoint, those of the newest notices first, behind the delivery `before`. Raises NotFound."""
    await endpoint.find(connection, organization, endpoint_id)
    if before is not None and not is_text_id(before):
        raise NotFound("There is no such delivery.")
    rows = [
        row
        async for row in queries.of_endpoint(
            connection, endpoint=endpoint_id, state=state, before=before, row_limit=limit
        )
    ]
    log: dict[str, list[Attempt]] = {row["id"]: [] for row in rows}
    async for row in queries.attempts(connection, deliveries=[*log]):
        log[row["delivery"]].append(Attempt(at=row["at"], status=row["status"], ms=row["ms"], answer=row["answer"]))
    return [msgspec.convert({**row, "log": log[row["id"]]}, Delivery) for row in rows]


async def replay(connection: asyncpg.Connection, organization: str, id_: str, *, by: str) -> str:
    """Send one message again, from its first attempt on; returns the endpoint. Raises NotFound, and Conflict where the
    endpoint is disabled."""
    async with connection.transaction():
        found = await queries.find(connection, organization=organization, id=id_) if is_text_id(id_) else None
        if found is None:
            raise NotFound("There is no such delivery.")
        await _enabled(connection, organization, found["endpoint"])
        await queries.replay(connection, id=id_)
        await audit.record(connection, "webhook.replayed", by=by, subject=id_, organization=organization)
    target: str = found["endpoint"]
    return target


async def replay_since(
    connection: asyncpg.Connection, organization: str, endpoint_id: str, since: datetime, *, by: str
) -> int:
    """Send again all that the endpoint wants of what was told since then, or came before it was made; returns how many
    that is. Raises NotFound, and Conflict where the endpoint is disabled."""
    async with connection.transaction():
        await _enabled(connection, organization, endpoint_id)
        count: int = await queries.replay_since(
            connection, organization=organization, endpoint=endpoint_id, since=since
        )
        await audit.record(
            connection,
            "webhook.replayed",
            by=by,
            subject=endpoint_id,
            organization=organization,
            after={"since": since, "messages": count},
        )
    return count


async def send_test(connection: asyncpg.Connection, organization: str, endpoint_id: str) -> str:
    """Send a notice that means nothing to this endpoint alone; returns its id. Raises NotFound, and Conflict where it
    is disabled or the test before is still on its way: nobody is to be flooded with our help."""
    async with connection.transaction():
        await _enabled(connection, organization, endpoint_id)
        if await queries.is_tested(connection, endpoint=endpoint_id, type=TEST):
            raise Conflict("A test of this webhook is on its way already.")
        message = text_id("evt")
        data = msgspec.json.encode({"organization": organization, "webhook": endpoint_id}).decode()
        await queries.send_test(
            connection, id=message, organization=organization, type=TEST, data=data, endpoint=endpoint_id
        )
    return message


async def _enabled(connection: asyncpg.Connection, organization: str, endpoint_id: str) -> None:
    await endpoint.queries.lock(
        connection, organization=organization, id=endpoint_id if is_text_id(endpoint_id) else ""
    )
    found = await endpoint.find(connection, organization, endpoint_id)
    if not found.enabled:
        raise Conflict("The webhook is disabled: enable it first.")
