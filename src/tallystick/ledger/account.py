"""Accounts: customers get an id each, the platform has one row per kind and lane."""

from enum import IntEnum
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries

FIRST_CUSTOMER: Final = 1_048_576
LANES_MAX: Final = 64

queries = load_queries(__file__, "account.sql")


class PlatformAccount(IntEnum):
    """The platform's side of the books. A hot account is one row per lane; its balance is their sum."""

    REVENUE = 1
    PROVIDER_COST = 2
    PROVIDER_PAYABLE = 3
    STRIPE_CLEARING = 4
    MANUAL_CLEARING = 5
    RECEIVABLE = 6
    TAX_PAYABLE = 7
    PROMOTIONAL_EXPENSE = 8
    ROUNDING = 9


class Balance(msgspec.Struct, frozen=True, gc=False):
    """What an account has, in nanocredits: `available` is what could be reserved now, negative when in debt."""

    posted: int
    held: int
    available: int


def platform_account(kind: PlatformAccount, lane: int) -> int:
    """The id of the platform's row of that kind in that lane."""
    return kind * LANES_MAX + lane


def lane_of(account: int, lanes: int) -> int:
    """The lane in which everything about an account happens, in every process."""
    return account % lanes


async def count_lanes(connection: asyncpg.Connection) -> int:
    """How many lanes this ledger has."""
    lanes: int = await queries.count_lanes(connection)
    return lanes


async def open_account(connection: asyncpg.Connection, *, floor: int = 0, overdraft: int = 0) -> int:
    """A new customer account. `floor` (<= 0) is how deep it may ever stand; the topmost `overdraft` above the floor
    can only be used by settlements above their hold, never by a reserve."""
    account: int = await queries.open_account(connection, floor=floor, overdraft=overdraft)
    return account


async def lock_all_lanes(connection: asyncpg.Connection) -> None:
    """Let nobody post until the caller's transaction ends, which must be at once."""
    await queries.lock_all_lanes(connection)
