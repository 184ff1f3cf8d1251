"""The receipt of one call: what it used, what it cost, which rule decided that, and why."""

from uuid import UUID

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.base.money import format_amount
from tallystick.gateway.outcome import Outcome, Policy

queries = load_queries(__file__, "receipt.sql")

_NO_SUCH = "There is no such receipt."
_OUTCOMES = frozenset(Outcome)
_AS_THEY_ARE = (
    "endpoint", "alias", "provider", "model", "stream", "usage_source", "outcome", "status", "attempts",
    "latency_ms", "first_byte_ms", "price_id",
)  # fmt: skip
_COUNTS = (
    "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "input_audio_tokens", "output_audio_tokens", "images",
)  # fmt: skip


async def find(connection: asyncpg.Connection, request_id: str, account: int, policy: Policy) -> dict[str, object]:
    """Raises NotFound, also for what belongs to someone else."""
    try:
        hold = UUID(request_id)
    except ValueError:
        raise NotFound(_NO_SUCH) from None
    row = await queries.receipt(connection, id=hold, account=account)
    if row is None:
        raise NotFound(_NO_SUCH)
    shown: dict[str, object] = {
        "object": "receipt",
        "id": str(row["id"]),
        "state": row["state"],
        "reserved": format_amount(row["reserved"]),
        "created_at": row["created_at"].isoformat(),
    }
    if row["outcome"] is None:
        return shown
    rule, *flags = row["rule"].split("+")
    return shown | {
        "ended_at": row["at"].isoformat(),
        "charge": format_amount(row["charge"]),
        "rule": rule,
        "why": policy[Outcome(rule)].why if rule in _OUTCOMES else None,
        "flags": flags,
        **{name: row[name] for name in _AS_THEY_ARE},
        "usage": {name: row[name] for name in _COUNTS},
    }
