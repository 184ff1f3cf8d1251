"""Agree on something with one organization beside its plan: other limits, rates, credit, the operator's own keys."""

from collections.abc import Callable
from datetime import datetime

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import InvalidInput
from tallystick.base.money import AMOUNT_MAX_NANO
from tallystick.constraints.subscriber import Overrides
from tallystick.subscriptions.offer import Offer, read_offer
from tallystick.subscriptions.publish import find_subscriber, publish_constraints
from tallystick.subscriptions.turn import OPERATOR, record, take_turn

queries = load_queries(__file__, "override.sql")


async def override(
    connection: asyncpg.Connection,
    organization: str,
    edit: Callable[[Overrides], Overrides],
    *,
    by: str = OPERATOR,
    now: datetime | None = None,
) -> Overrides:
    """Replace what is agreed by what `edit` makes of it; `Overrides()` is nothing. It outlasts every change of plan.

    Raises NotFound, InvalidInput."""
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        before = (await find_subscriber(connection, organization)).overrides
        after = edit(before)
        _check(after, before, await read_offer(connection))
        await queries.replace(
            connection,
            organization=organization,
            quotas=msgspec.json.encode(after.quotas).decode(),
            rates=None if after.rates is None else msgspec.json.encode(after.rates).decode(),
            credit_limit=after.credit_limit,
            metered_enabled=after.metered_enabled,
        )
        await record(
            connection, organization, what="overridden", by=by, effective_at=turn.now, before=before, after=after
        )
        await publish_constraints(connection, organization)
    return after


def _check(agreed: Overrides, before: Overrides, offer: Offer) -> None:
    # What was agreed on once may stay when the feature leaves the catalog.
    known = offer.book.features(offer.at).keys() | before.quotas.keys()
    for feature, limit in agreed.quotas.items():
        if feature not in known:
            raise InvalidInput("quota", f"names {feature}, which is no feature of the catalog")
        _limit(f"quota {feature}", limit, 0)
    for field in agreed.rates.__struct_fields__ if agreed.rates else ():
        _limit(field, getattr(agreed.rates, field), 1)
    _limit("credit_limit", agreed.credit_limit, 0)


def _limit(field: str, value: int | None, least: int) -> None:
    if value is not None and not least <= value <= AMOUNT_MAX_NANO:
        raise InvalidInput(field, f"must be between {least} and {AMOUNT_MAX_NANO}")
