"""Count the use of a feature before it happens, or refuse it; give one back that came to nothing."""

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from tallystick.base.errors import Conflict, QuotaExceeded, Unavailable
from tallystick.base.ids import id_for_request, new_id
from tallystick.constraints.constraints import Constraints
from tallystick.quotas.limit import check_access, check_units, limit_of
from tallystick.quotas.reading import reading
from tallystick.quotas.usage import first_leaves_at
from tallystick.quotas.use import Use, remaining_of
from tallystick.reservations.claim import Admitted, FeatureClaim
from tallystick.reservations.hold import HoldEnded
from tallystick.reservations.lanes import Lanes

log = structlog.get_logger()

ATTEMPTS_MAX: Final = 20
"""How often what was given back can be taken again under one request id."""
_LIFE_S: Final = 60


async def admit(
    pool: asyncpg.Pool,
    lanes: Lanes,
    constraints: Constraints,
    feature: str,
    *,
    now: datetime,
    units: int = 1,
    request_id: str | None = None,
) -> Use:
    """Count `units`, all or none. The same `request_id` is counted once, until it is given back. `now` says whether
    the subscription gives access; what is in the window is for the database's clock to say.

    Raises QuotaExceeded, which leaves no trace, UnknownFeature, NoAccess, InvalidInput, and Conflict for the same
    request id with another feature or other units."""
    limit = limit_of(constraints, feature)
    claim = FeatureClaim(feature=feature, units=check_units(units), limit=limit)
    check_access(constraints, now)
    try:
        use, admitted = await _counted(lanes, constraints, claim, request_id)
    except QuotaExceeded as refusal:
        refusal.details["feature"] = feature
        raise
    resets_at = None if limit is None else await _first_leaves_at(pool, constraints.account, feature)
    return Use(
        id=str(use),
        feature=feature,
        units=units,
        used=admitted.used[0],
        limit=limit,
        remaining=remaining_of(limit, admitted.used[0]),
        resets_at=resets_at,
        repeated=admitted.repeated,
    )


async def give_back(lanes: Lanes, account: int, use: UUID) -> None:
    """Take the use out of its window, as if it had never been. Said again, it is still true.

    Raises NotFound for a use that this account never had."""
    await lanes.release(use, account)


async def _counted(
    lanes: Lanes, constraints: Constraints, claim: FeatureClaim, request_id: str | None
) -> tuple[UUID, Admitted]:
    for attempt in range(ATTEMPTS_MAX):
        use = new_id() if request_id is None else _id(constraints.organization, request_id, attempt)
        try:
            return use, await lanes.admit(use, constraints.account, 0, (claim,), expires_in_s=_LIFE_S, counted=True)
        except HoldEnded:
            # Given back: the same request tries once more, as it should after a failure.
            if request_id is None:
                raise
    raise Conflict("This request id was given back too often; use a new one.")


async def _first_leaves_at(pool: asyncpg.Pool, account: int, feature: str) -> datetime | None:
    try:
        async with reading(pool) as connection:
            return await first_leaves_at(connection, account, feature)
    except Unavailable as error:
        # The use is counted: an error now would lose it for the sake of a piece of information.
        log.warning("reset_of_quota_not_read", feature=feature, error=repr(error))
        return None


def _id(organization: str, request_id: str, attempt: int) -> UUID:
    # A scope of its own: an application may well use one id for a use, a charge and a deduction of one request.
    return id_for_request(f"use {attempt} {organization}", request_id)
