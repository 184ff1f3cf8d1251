"""Read back what was recorded of one request, as the operator sees it: with our cost beside the customer's charge."""

from datetime import datetime
from uuid import UUID

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.reservations.usage_record import UsageRecord

queries = load_queries(__file__, "recorded.sql")


async def recorded(connection: asyncpg.Connection, request_id: UUID) -> tuple[datetime, UsageRecord]:
    """When the request ended, and its record. Raises NotFound: it never had a hold, or it is still running."""
    row = await queries.recorded(connection, id=request_id)
    if row is None:
        raise NotFound("There is no usage record of this request: it was refused, or it is still running.")
    fields = dict(row)
    return fields.pop("at"), UsageRecord(**fields)
