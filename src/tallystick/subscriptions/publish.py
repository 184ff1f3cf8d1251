"""Compile an organization's constraints document, store it, tell every gateway, and set how deep its account may stand.

A document is old when the catalog has more of what it was compiled from. Whoever notices compiles it again: a verb, a
gateway that reads it, the upkeep. So none is lost when one of them dies half-way.
"""

from collections.abc import Callable
from typing import cast

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.catalog.plan import PlanRates
from tallystick.catalog.read import plan_version
from tallystick.constraints.compile import compile_constraints
from tallystick.constraints.constraints import Constraints, Status
from tallystick.constraints.subscriber import Overrides, Restriction, Subscriber, without_subscription
from tallystick.ledger.account import set_floor
from tallystick.subscriptions import subscription
from tallystick.subscriptions.each import PAGE, each
from tallystick.subscriptions.offer import Offer, read_offer
from tallystick.subscriptions.subscription import Subscription
from tallystick.subscriptions.turn import wait_for_turn

queries = load_queries(__file__, "publish.sql")


def decode(text: str) -> Constraints | None:
    """A stored document; None where it was written by a version that knew other fields."""
    try:
        return msgspec.json.decode(text, type=Constraints)
    except msgspec.ValidationError:
        return None


async def publish_constraints(connection: asyncpg.Connection, organization: str) -> Constraints:
    """A new version, always, and one announcement of it. Where the floor changes, the account's lane stays locked until
    the caller's transaction ends: let this be the last it does. Raises NotFound."""
    async with connection.transaction():
        await wait_for_turn(connection, organization)
        return await _publish(connection, organization, await read_offer(connection))


async def publish_if_old(connection: asyncpg.Connection, organization: str, offer: Offer) -> bool:
    """Compile the document again only if it is missing or older than `offer`; False where it is neither.

    Where that comes to the same document, nobody is told. Raises NotFound."""
    async with connection.transaction():
        await wait_for_turn(connection, organization)
        old = await queries.is_old(
            connection, organization=organization, features=offer.features_read, plans=offer.plans_read
        )
        if old:
            await _publish(connection, organization, offer, only_if_changed=True)
    return bool(old)


async def publish_old(
    pool: asyncpg.Pool, progress: Callable[[int], None] = lambda _done: None, *, pages_max: int | None = None
) -> int:
    """Compile again every document that is older than the catalog; returns how many. Any number of these may run at
    once, and who stops one, or ends it after `pages_max` pages, calls it again: what is left is still old."""
    async with pool.acquire() as connection:
        if not await queries.is_any_old(connection):
            return 0
        offer = await read_offer(connection)
    features, plans = offer.features_read, offer.plans_read
    return await each(
        pool,
        lambda connection, after: queries.old(connection, features=features, plans=plans, after=after, row_limit=PAGE),
        lambda connection, organization: publish_if_old(connection, organization, offer),
        progress=progress,
        pages_max=pages_max,
    )


async def raise_floors(pool: asyncpg.Pool) -> int:
    """Bring back the floors of accounts that owed more than they now may, as far as that was paid; returns of how
    many that was all."""
    return await each(
        pool, lambda connection, after: queries.deep(connection, after=after, row_limit=PAGE), raise_floor
    )


async def raise_floor(connection: asyncpg.Connection, organization: str) -> bool:
    """Whether the account's floor is now where its document wants it. Raises NotFound."""
    async with connection.transaction():
        await wait_for_turn(connection, organization)
        row = await queries.wanted_floor(connection, organization=organization)
        if row is None:
            return False
        debt = await set_floor(
            connection, row["account"], floor=-(row["credit_limit"] + row["overdraft"]), overdraft=row["overdraft"]
        )
        await queries.keep_floor_debt(connection, organization=organization, floor_debt=debt)
    return debt == 0


async def find_subscriber(connection: asyncpg.Connection, organization: str) -> Subscriber:
    """What an organization's document is compiled from: its plan, and what is agreed beside it. Raises NotFound."""
    row = await queries.compiled_from(connection, organization=organization)
    if row is None:
        raise NotFound("There is no such organization.")
    found = await subscription.live(connection, organization)
    return await _subscriber(connection, found, row, await read_offer(connection))


async def _publish(
    connection: asyncpg.Connection, organization: str, offer: Offer, *, only_if_changed: bool = False
) -> Constraints:
    row = await queries.compiled_from(connection, organization=organization)
    found = await subscription.live(connection, organization)
    stored = row["document"] and decode(row["document"])
    compiled = compile_constraints(
        organization,
        row["account"],
        await _subscriber(connection, found, row, offer),
        offer.book.features(offer.at).values(),
        version=row["version"],
        now=offer.at,
    )
    told = compiled != stored or not only_if_changed
    if told:
        compiled = msgspec.structs.replace(compiled, version=row["version"] + 1)
    # Last, for it may lock the account's lane.
    debt = await set_floor(
        connection,
        compiled.account,
        floor=-(compiled.credit_limit + compiled.overdraft),
        overdraft=compiled.overdraft,
    )
    await queries.store(
        connection,
        organization=organization,
        version=compiled.version,
        document=msgspec.json.encode(compiled).decode(),
        features_read=offer.features_read,
        plans_read=offer.plans_read if found is None else None,
        floor_debt=debt,
    )
    if told:
        await queries.announce(connection, organization=organization)
    return compiled


async def _subscriber(
    connection: asyncpg.Connection,
    found: Subscription | None,
    row: asyncpg.Record,
    offer: Offer,
) -> Subscriber:
    if found is None:
        default = offer.book.default_plan(offer.at)
        return without_subscription(
            row["created_at"],
            None if default is None else default.document,
            None if default is None else default.id,
            _agreed(row),
            _restriction(row),
        )
    return Subscriber(
        plan=await plan_version(connection, found.plan_version),
        plan_version=found.plan_version,
        # A live subscription has not ended, and only one that ended is canceled: the table sees to it.
        status=cast("Status", found.status),
        anchor=found.anchor,
        # A pause takes the place of the dunning it interrupts.
        past_due_since=found.past_due_since if found.status == "past_due" else None,
        grace_over=found.status == "past_due" and found.grace_ends_at is None,
        overrides=_agreed(row),
        restriction=_restriction(row),
    )


def _agreed(row: asyncpg.Record) -> Overrides:
    if row["quotas"] is None:
        return Overrides()
    return Overrides(
        quotas=msgspec.json.decode(row["quotas"], type=dict[str, int | None]),
        rates=msgspec.json.decode(row["rates"] or "null", type=PlanRates | None),
        credit_limit=row["credit_limit"],
        metered_enabled=row["metered_enabled"],
    )


def _restriction(row: asyncpg.Record) -> Restriction | None:
    return None if row["restriction"] is None else Restriction(row["restriction"], row["because"])
