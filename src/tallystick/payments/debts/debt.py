"""Debts: what customers owe because they spent credits whose payment went back afterwards.

Whoever changes an organization's debts has its turn (subscriptions), taken before anything is posted.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.constraints.subscriber import Restriction
from tallystick.ledger.reverse import reverse
from tallystick.subscriptions.restrict import restrict

queries = load_queries(__file__, "debt.sql")

Policy = Literal["none", "throttle", "freeze"]

DISPUTE_POLICY: Final[ContextVar[Policy]] = ContextVar("tallystick_dispute_policy", default="freeze")
"""What a customer may do who owes because of a dispute, or who disputes what was paid for a plan: the edges set it,
from the settings."""


class Debt(msgspec.Struct, frozen=True, kw_only=True):
    """`operation` is the clawback that it comes from; amounts in nanocredits."""

    operation: UUID
    organization: str
    account: int
    amount: int
    open: int
    policy: Policy
    began_at: datetime
    ended_at: datetime | None


async def owe(
    connection: asyncpg.Connection, operation: UUID, organization: str, account: int, amount: int, policy: Policy
) -> None:
    """Note that `operation` posted `amount` to receivable."""
    await queries.add(
        connection, operation=operation, organization=organization, account=account, amount=amount, policy=policy
    )


async def open_debts(connection: asyncpg.Connection, organization: str) -> Sequence[Debt]:
    """Those that still wait for something, the oldest first."""
    return [_debt(row) async for row in queries.open_debts(connection, organization=organization)]


async def debts(
    connection: asyncpg.Connection, *, organization: str | None = None, only_open: bool = True, limit: int = 100
) -> Sequence[Debt]:
    """The newest first."""
    found = queries.debts(connection, organization=organization, only_open=only_open, row_limit=limit)
    return [_debt(row) async for row in found]


async def undo(connection: asyncpg.Connection, operation: UUID) -> None:
    """What `operation` left owed is owed no more: its payment came back. What was collected for it goes back to the
    customer. Nothing where it left nothing owed."""
    paid = [row["operation"] async for row in queries.payments_in_force(connection, debt=operation)]
    for payment in paid:
        await reverse(connection, payment)
        await queries.mark_reversed(connection, operation=payment)
    await queries.end(connection, operation=operation)


async def pay(
    connection: asyncpg.Connection, debt: Debt, operation: UUID, kind: Literal["collection", "write_off"], amount: int
) -> None:
    """Note that `operation` took `amount` from receivable for the debt."""
    await queries.pay(connection, debt=debt.operation, operation=operation, kind=kind, amount=amount)


async def hold_back(connection: asyncpg.Connection, organization: str, *, by: str) -> None:
    """Let the organization be as its open debts, and disputes about its plan, want it. The last thing that is done in
    the transaction."""
    row = await queries.wanted_restriction(connection, organization=organization)
    await restrict(connection, organization, None if row is None else Restriction(**row), by=by)


def _debt(row: asyncpg.Record) -> Debt:
    return msgspec.convert(dict(row), Debt)
