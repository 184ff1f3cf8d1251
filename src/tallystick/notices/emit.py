"""Tell an organization of something: written with the change itself, brought to its webhooks afterwards."""

from collections.abc import Mapping

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.ids import text_id

queries = load_queries(__file__, "emit.sql")
_encoder = msgspec.json.Encoder(decimal_format="number")


async def emit(
    connection: asyncpg.Connection | asyncpg.Pool,
    organization: str,
    type: str,  # noqa: A002 - the word of the webhook standard
    data: msgspec.Struct | Mapping[str, object],
    *,
    key: str | None = None,
) -> bool:
    """Keep a notice such as 'order.credited' in the caller's transaction: it is sent if that commits.

    Of notices with the same `key` an organization gets only the first; False when there was one."""
    kept = await queries.keep(
        connection,
        id=text_id("evt"),
        organization=organization,
        type=type,
        key=key,
        data=_encoder.encode(data).decode(),
    )
    return bool(kept == "INSERT 0 1")
