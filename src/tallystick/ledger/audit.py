"""The audit log: every act that has to do with billing, written in the transaction of the act itself."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries

queries = load_queries(__file__, "audit.sql")

_encoder = msgspec.json.Encoder(decimal_format="number", order="sorted")

ORIGIN: Final[ContextVar[str]] = ContextVar("tallystick_audit_origin", default="process")
"""From where what runs now was asked for: the edges set it (an address, 'cli', 'upkeep', 'stripe evt_...')."""

_OPERATOR: Final = "operator"

State = msgspec.Struct | Mapping[str, object] | None


async def record(
    connection: asyncpg.Connection,
    act: str,
    *,
    by: str,
    subject: str,
    organization: str | None = None,
    before: State = None,
    after: State = None,
) -> None:
    """Keep that `by` did `act` (such as 'order.approved') to `subject`, with the fields that it changed.

    `by` is a user's id, or 'operator:NAME', 'stripe', 'clock'. No secret may stand in `before` or `after`."""
    await queries.record(
        connection,
        organization=organization,
        act=act,
        done_by=by,
        origin=ORIGIN.get(),
        subject=subject,
        before=_text(before),
        after=_text(after),
    )


def unnamed(by: str) -> str:
    """`by` as customers are told it: which of the people who work here it was is not their business."""
    return _OPERATOR if by.startswith(f"{_OPERATOR}:") else by


def _text(state: State) -> str | None:
    return None if state is None else _encoder.encode(state).decode()
