"""What an account has and what happened to it, in the words of the credits API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import asyncpg

from tallystick.base.errors import InvalidInput
from tallystick.base.money import to_decimal
from tallystick.ledger import read
from tallystick.library.answers import BalanceResponse, HistoryResponse, Transaction, TransactionType
from tallystick.library.inputs import sequence_number

HISTORY_MAX: Final = 500

# The books tell a gateway's charges from those of other services; to who pays, both are deductions.
_KINDS: Final[Mapping[TransactionType, tuple[str, ...]]] = {
    "purchase": ("purchase",),
    "deduction": ("usage", "deduction"),
    "grant": ("grant",),
    "expiry": ("expiry",),
    "reversal": ("reversal",),
    "adjustment": ("adjustment",),
    "refund": ("refund",),
    "dispute": ("dispute",),
    # What was bought later and paid what was owed.
    "collection": ("collection",),
}
_TYPES: Final[Mapping[str, TransactionType]] = {kind: type_ for type_, kinds in _KINDS.items() for kind in kinds}


async def balance(connection: asyncpg.Connection, account: int) -> BalanceResponse:
    """What there is, and when something was last bought and last spent."""
    found = await read.balance(connection, account)
    return BalanceResponse(
        balance=to_decimal(found.posted),
        available=to_decimal(found.available),
        held=to_decimal(found.held),
        last_purchase_at=await _last(connection, account, "purchase"),
        last_deduction_at=await _last(connection, account, "deduction"),
    )


async def history(
    connection: asyncpg.Connection, account: int, *, limit: int, cursor: str | None, only: str | None
) -> HistoryResponse:
    """A page of what happened, newest first; of one type where `only` names it."""
    if not 0 < limit <= HISTORY_MAX:
        raise InvalidInput("limit", f"must be 1 to {HISTORY_MAX}")
    if only is not None and only not in _KINDS:
        raise InvalidInput("type", f"must be one of {', '.join(_KINDS)}")
    # One more than asked for tells whether there is a next page.
    entries = await read.history(
        connection,
        account,
        before=sequence_number(cursor),
        limit=limit + 1,
        kinds=None if only is None else [kind for kind, type_ in _TYPES.items() if type_ == only],
    )
    shown = entries[:limit]
    return HistoryResponse(
        transactions=[
            Transaction(
                id=str(entry.operation),
                type=_TYPES[entry.kind],
                amount=to_decimal(entry.amount),
                created_at=entry.at,
            )
            for entry in shown
        ],
        next_cursor=str(shown[-1].seq) if len(entries) > limit else None,
    )


async def _last(connection: asyncpg.Connection, account: int, type_: TransactionType) -> datetime | None:
    entries = await read.history(connection, account, limit=1, kinds=_KINDS[type_])
    return entries[0].at if entries else None
