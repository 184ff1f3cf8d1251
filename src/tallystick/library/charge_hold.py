"""A charge for metered work on the ledger: its most is held before the work, what was really used is settled after it.

Every charge claims units of its meter, also of one that the plan neither limits nor prices: what was used is then on
the hold, in the meter's period and in the usage record, whoever pays.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidInput
from tallystick.base.ids import id_for_request, new_id
from tallystick.base.money import AMOUNT_MAX_NANO, to_decimal
from tallystick.catalog.plan import DOLLARS, Meter
from tallystick.constraints.constraints import Constraints
from tallystick.constraints.period import period_at
from tallystick.library.tally_engine import HeldCharge, SettledCharge
from tallystick.quotas.limit import check_access, check_units, limit_of
from tallystick.quotas.reading import reading
from tallystick.reservations.claim import Admitted, AnyClaim, Claim, FeatureClaim
from tallystick.reservations.hold import HoldConflict, HoldEnded, HoldNotFound, WrongPeriod
from tallystick.reservations.lanes import LIFE_MAX_S, Lanes
from tallystick.reservations.usage_record import UsageRecord

ENDPOINT: Final = "charge"
_ATTEMPTS_MAX: Final = 20
_ADDABLE: Final = frozenset({"count", "sum"})

queries = load_queries(__file__, "charge_hold.sql")


async def hold_charge(
    pool: asyncpg.Pool,
    lanes: Lanes,
    constraints: Constraints,
    meter: Meter,
    quantity: int,
    *,
    now: datetime,
    feature: str | None,
    request_id: str | None,
    lasts_s: int,
) -> HeldCharge:
    """Hold all that `quantity` can cost and take. The same `request_id` holds it once; it may be held again after it
    was given back, and is refused as ended after it was settled."""
    if meter.name == DOLLARS or meter.aggregation not in _ADDABLE:
        raise InvalidInput("meter", "cannot be charged: it is not counted unit by unit")
    check_units(quantity, "quantity")
    if type(lasts_s) is not int or not 0 < lasts_s <= LIFE_MAX_S:
        raise InvalidInput("lasts_s", f"must be a whole number from 1 to {LIFE_MAX_S}")
    check_access(constraints, now)
    for attempt in range(_ATTEMPTS_MAX):
        hold = new_id() if request_id is None else _id(constraints.organization, request_id, attempt)
        try:
            admitted = await _admit(lanes, hold, constraints, (meter.name, quantity, feature), now, lasts_s)
        except HoldEnded:
            if request_id is None or await _was_settled(pool, hold, constraints.account):
                raise
        else:
            return HeldCharge(
                id=str(hold),
                meter=meter.name,
                quantity=quantity,
                layer=admitted.layer,
                amount=to_decimal(admitted.amount),
                repeated=admitted.repeated,
            )
    raise Conflict("This request id was given back too often; use a new one.")


async def settle_charge(
    pool: asyncpg.Pool, lanes: Lanes, account: int, hold: UUID, quantity: int | None
) -> SettledCharge:
    """End it with what was really used; None is all of it. Raises HoldNotFound, HoldEnded, HoldConflict."""
    found = await _find(pool, hold, account)
    # A use of a feature, which may stand behind the meter, is as it was claimed.
    most, *others = found["units"]
    used: int = most if quantity is None else quantity
    if type(used) is not int or not 0 <= used <= most:
        raise InvalidInput("quantity", f"must be a whole number from 0 to {most}, which was admitted")
    if found["state"] == "settled" and found["used"] != used:
        # Where neither costs anything the ledger would see the same charge twice.
        raise HoldConflict(f"{hold} was settled before, with another quantity")
    settled = await lanes.settle_claims(hold, account, 0, (used, *others), usage=_record(hold, account, found))
    return SettledCharge(
        id=str(hold),
        meter=found["meter"],
        quantity=used,
        charged=to_decimal(settled.charge),
        balance=to_decimal(settled.posted),
        available=to_decimal(settled.available),
    )


async def release_charge(pool: asyncpg.Pool, lanes: Lanes, account: int, hold: UUID) -> None:
    """Give everything back. Raises HoldNotFound, and HoldEnded for what was settled."""
    await _find(pool, hold, account)
    await lanes.release(hold, account)


async def _admit(
    lanes: Lanes, hold: UUID, constraints: Constraints, wanted: tuple[str, int, str | None], now: datetime, lasts_s: int
) -> Admitted:
    try:
        claims = _claims(constraints, *wanted, now)
        return await lanes.admit(hold, constraints.account, 0, claims, expires_in_s=lasts_s)
    except WrongPeriod as turned:
        # Our clock and the database's stand on two sides of the period's end: its word counts.
        claims = _claims(constraints, *wanted, turned.now)
        return await lanes.admit(hold, constraints.account, 0, claims, expires_in_s=lasts_s)


def _claims(
    constraints: Constraints, meter: str, quantity: int, feature: str | None, now: datetime
) -> tuple[AnyClaim, ...]:
    period = period_at(constraints.period, now)
    rule = next((rule for rule in constraints.meters if rule.meter == meter), None)
    claim = Claim(
        meter=meter,
        units=quantity,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
        allowance=0 if rule is None else rule.allowance,
        cap=None if rule is None else rule.cap,
        price=0 if rule is None else rule.price,
        per=1 if rule is None else rule.per,
    )
    if -(-claim.units * claim.price // claim.per) > AMOUNT_MAX_NANO:
        raise InvalidInput("quantity", "costs more than can be held at a time")
    if feature is None:
        return (claim,)
    return claim, FeatureClaim(feature=feature, units=1, limit=limit_of(constraints, feature))


def _record(hold: UUID, account: int, found: asyncpg.Record) -> UsageRecord:
    return UsageRecord(
        id=hold,
        account=account,
        endpoint=ENDPOINT,
        alias=found["meter"],
        provider="",
        model="",
        stream=False,
        input_tokens=0,
        output_tokens=0,
        usage_source="none",
        cost=0,
        charge=0,
        reserved=found["reserved"],
        outcome="completed",
        rule="charge",
        status=0,
        attempts=0,
        latency_ms=int(found["age_ms"]),
    )


async def _find(pool: asyncpg.Pool, hold: UUID, account: int) -> Any:
    async with reading(pool) as connection:
        found = await queries.find_charge(connection, hold=hold, account=account)
    if found is None:
        raise HoldNotFound("There is no such charge.")
    return found


async def _was_settled(pool: asyncpg.Pool, hold: UUID, account: int) -> bool:
    state: str = (await _find(pool, hold, account))["state"]
    return state == "settled"


def _id(organization: str, request_id: str, attempt: int) -> UUID:
    return id_for_request(f"charge {attempt} {organization}", request_id)
