"""Accounts: customers get an id each, the platform has one row per kind and lane."""

from enum import IntEnum
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound

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
    PLAN_REVENUE = 10
    STRIPE_FEE = 11
    DISPUTE_FEE = 12
    BANK = 13
    BAD_DEBT = 14
    STRIPE_OTHER = 15


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


async def beside(connection: asyncpg.Connection, kind: PlatformAccount, account: int) -> int:
    """The platform's account of this kind that shares a lane, and so a lock, with `account`."""
    return platform_account(kind, lane_of(account, await count_lanes(connection)))


async def open_account(connection: asyncpg.Connection, *, floor: int = 0, overdraft: int = 0) -> int:
    """A new customer account. `floor` (<= 0) is how deep it may ever stand; the topmost `overdraft` above the floor
    can only be used by settlements above their hold, never by a reserve."""
    account: int = await queries.open_account(connection, floor=floor, overdraft=overdraft)
    return account


async def set_floor(connection: asyncpg.Connection, account: int, *, floor: int, overdraft: int) -> int:
    """Let the account stand as deep as `floor` (<= 0) from now on, the topmost `overdraft` of it as in open_account.

    An account that is deeper already keeps its depth: the difference joins its overdraft, which no reserve can use,
    and is returned; zero means that the floor is as wanted. Where something changes the account's lane stays locked
    until the caller's READ COMMITTED transaction ends, which must be at once. Raises NotFound.
    """
    if floor > 0 or not 0 <= overdraft <= -floor:
        raise ValueError(f"an account cannot have the floor {floor} with an overdraft of {overdraft}")
    # Without the lock first: floors are rarely other than they should be, and whoever sets one has the organization's
    # turn, so that nobody else sets it meanwhile.
    row = await queries.read_floor(connection, account=account)
    if row is None:
        raise NotFound(f"there is no account {account}")
    if (row["floor"], row["overdraft"]) == (floor, overdraft):
        return 0
    await queries.lock_lane(connection, account=account)
    changed = await queries.set_floor(connection, account=account, floor=floor, overdraft=overdraft)
    debt: int = changed["debt"]
    return debt


async def lock_all_lanes(connection: asyncpg.Connection) -> None:
    """Let nobody post until the caller's transaction ends, which must be at once."""
    await queries.lock_all_lanes(connection)
