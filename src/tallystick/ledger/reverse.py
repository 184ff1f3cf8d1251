"""Reverse an operation: the same transfers the other way round, once."""

from collections.abc import Sequence
from uuid import UUID, uuid5

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, NotFound
from tallystick.ledger.account import FIRST_CUSTOMER
from tallystick.ledger.lot import add_lot
from tallystick.ledger.post import Transfer, post

queries = load_queries(__file__, "reverse.sql")


def reversal_of(original: UUID) -> UUID:
    """The id of the one reversal that an operation or a settled hold can have."""
    return uuid5(original, "reversal")


async def reverse(connection: asyncpg.Connection, original: UUID, *, into: UUID | None = None) -> bool:
    """Take back an operation or a settled hold; False when it was taken back before. In the caller's transaction.

    Credits that go back to a customer return to the lot `into` that they were taken from, or become a lot of kind
    'restored', which never expires; credits that are taken from a customer come out of the lot that brought them
    first. Raises NotFound, Conflict for a reversal of a reversal, InsufficientCreditsError when the account cannot
    give the credits back.
    """
    transfers = [Transfer(*row) async for row in queries.transfers_reversed(connection, operation=original)]
    if not transfers:
        raise NotFound(f"there is nothing posted by {original}")
    if await queries.is_reversal(connection, operation=original):
        raise Conflict(f"{original} is a reversal itself")
    operation = reversal_of(original)
    if not await post(
        connection, operation=operation, kind="reversal", transfers=transfers, fingerprint="", reverses=original
    ):
        return False
    for account, change in sorted(_customer_changes(transfers).items()):
        if change < 0:
            await queries.take_from_lots(connection, operation=original, account=account, amount=-change)
        elif change > 0 and into is not None:
            await queries.put_back(connection, lot=into, account=account, amount=change)
        elif change > 0:
            await add_lot(
                connection,
                id=uuid5(operation, str(account)),
                account=account,
                kind="restored",
                amount=change,
                source=f"reversal of {original}",
                operation=operation,
            )
    return True


def _customer_changes(transfers: Sequence[Transfer]) -> dict[int, int]:
    changes: dict[int, int] = {}
    for transfer in transfers:
        for account, change in ((transfer.debit, -transfer.amount), (transfer.credit, transfer.amount)):
            if account >= FIRST_CUSTOMER:
                changes[account] = changes.get(account, 0) + change
    return changes
