"""Read the audit log: of one organization page by page, or all of it from beginning to end."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import InvalidInput
from tallystick.ledger.audit import unnamed

queries = load_queries(__file__, "audit_log.sql")

_PAGE: Final = 1000
_WORD_MAX: Final = 200
_SEQ_MAX: Final = 2**63 - 1
# What an operator saw of a payment to the bank.
_INTERNAL: Final = frozenset({"proof"})
_OPERATOR_NAME: Final = re.compile("operator:[A-Za-z0-9._@+-]+")
# Numbers stay as they were written.
_exact: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`before` and `after` are JSON as it was written. `block_hash` is that of the block of the chain that vouches for
    the event and for all before it; None until it is sealed, which takes a second."""

    seq: int
    at: datetime
    organization: str | None
    act: str
    by: str
    origin: str
    subject: str
    before: msgspec.Raw | None
    after: msgspec.Raw | None
    block: int | None
    block_hash: str | None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """`act` may be a pattern such as 'order.*'. From `since` on, before `until`."""

    organization: str | None = None
    act: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def for_customers(event: AuditEvent) -> AuditEvent:
    """Without the names of the people who work here, which stand in `by` and in fields such as approved_by; and without
    what these wrote down for each other."""
    return msgspec.structs.replace(
        event, by=unnamed(event.by), before=_for_customers(event.before), after=_for_customers(event.after)
    )


async def newest(
    connection: asyncpg.Connection, wanted: Filter, *, before: int | None = None, limit: int = 50
) -> Sequence[AuditEvent]:
    """The newest first, those with numbers below `before`. Raises InvalidInput."""
    from_seq = _SEQ_MAX if before is None else before
    return await _page(connection, _asked(wanted), backwards=True, from_seq=from_seq, limit=limit)


async def from_the_beginning(connection: asyncpg.Connection, wanted: Filter) -> AsyncIterator[AuditEvent]:
    """All of them, the oldest first, a page in memory at a time. In a REPEATABLE READ transaction of the caller's it is
    one moment's log. Raises InvalidInput."""
    after, asked = 0, _asked(wanted)
    while True:
        page = await _page(connection, asked, backwards=False, from_seq=after, limit=_PAGE)
        for event in page:
            yield event
        if len(page) < _PAGE:
            return
        after = page[-1].seq


async def _page(
    connection: asyncpg.Connection, asked: Mapping[str, object], *, backwards: bool, from_seq: int, limit: int
) -> Sequence[AuditEvent]:
    async with connection.transaction():
        await queries.plan_anew(connection)
        rows = queries.page(connection, **asked, backwards=backwards, from_seq=from_seq, row_limit=limit)
        return [_event(row) async for row in rows]


def _for_customers(state: msgspec.Raw | None) -> msgspec.Raw | None:
    if state is None:
        return None
    told = {name: value for name, value in _exact.decode(state).items() if name not in _INTERNAL}
    return msgspec.Raw(_encoder.encode(_unnamed(told)))


def _unnamed(value: Any) -> Any:
    match value:
        case str():
            # As a whole value only: a text may quote one.
            return unnamed(value) if _OPERATOR_NAME.fullmatch(value) else value
        case list():
            return [_unnamed(one) for one in value]
        case dict():
            return {name: _unnamed(one) for name, one in value.items()}
        case _:
            return value


def _asked(wanted: Filter) -> dict[str, object]:
    for field in ("act", "subject"):
        word = getattr(wanted, field)
        if word is not None and not (0 < len(word) <= _WORD_MAX and word.isprintable()):
            raise InvalidInput(field, f"must be a printable text of 1 to {_WORD_MAX} characters")
    act = wanted.act or ""
    if "*" in act.removesuffix(".*"):
        raise InvalidInput("act", "must be an act such as order.approved, or a pattern such as order.*")
    is_pattern = act.endswith(".*")
    return {
        "organization": wanted.organization,
        "act": None if is_pattern else wanted.act,
        "act_prefix": act[:-1] if is_pattern else None,
        "subject": wanted.subject,
        "since": wanted.since,
        "until": wanted.until,
    }


def _event(row: asyncpg.Record) -> AuditEvent:
    texts = {name: row[name] for name in ("before", "after")}
    raw = {name: None if text is None else msgspec.Raw(text.encode()) for name, text in texts.items()}
    return AuditEvent(**{**dict(row), **raw})
