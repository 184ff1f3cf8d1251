"""Charge accounts for usage, one or many at once; each charge stands alone and is made once per request id."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import msgspec

from tallystick.accounts.organization import resolve_payer
from tallystick.base.errors import InvalidInput, TallystickError
from tallystick.base.ids import id_for_request, new_id
from tallystick.base.money import to_decimal
from tallystick.library.answers import BatchResponse, DeductFailure, Deduction, DeductResponse
from tallystick.library.inputs import nanocredits, text
from tallystick.reservations.lanes import Lanes

BATCH_MAX: Final = 1_000

_Payer = tuple[str, int]


class _Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A deduction that was checked: everything about it is known but who pays."""

    user_id: str
    nano: int
    request_id: str | None


async def deduct(pool: asyncpg.Pool, lanes: Lanes, deduction: Deduction) -> DeductResponse:
    charge = _checked(deduction)
    async with pool.acquire() as connection:
        payer = await resolve_payer(connection, charge.user_id)
    return await _make(lanes, payer, charge)


async def deduct_batch(
    pool: asyncpg.Pool, lanes: Lanes, deductions: Sequence[Deduction | Mapping[str, object]]
) -> BatchResponse:
    if not 0 < len(deductions) <= BATCH_MAX:
        raise InvalidInput("deductions", f"must have 1 to {BATCH_MAX} items")
    charges = [_checked_or_error(deduction) for deduction in deductions]
    wanted = {charge.user_id for charge in charges if isinstance(charge, _Charge)}
    async with pool.acquire() as connection:
        payers = {user_id: await _payer_or_error(connection, user_id) for user_id in wanted}
    results = await asyncio.gather(
        *(
            _make_or_error(lanes, payers, deduction, charge)
            for deduction, charge in zip(deductions, charges, strict=True)
        )
    )
    return BatchResponse(results=results)


async def _make(lanes: Lanes, payer: _Payer, charge: _Charge) -> DeductResponse:
    organization, account = payer
    # Ids of callers are random to the books' index, which costs more; ours are in the order of time.
    hold = new_id() if charge.request_id is None else id_for_request(organization, charge.request_id)
    balance = await lanes.deduct(hold, account, charge.nano)
    return DeductResponse(
        id=str(hold),
        user_id=charge.user_id,
        request_id=charge.request_id,
        deducted=to_decimal(charge.nano),
        balance=to_decimal(balance.posted),
    )


async def _make_or_error(
    lanes: Lanes,
    payers: Mapping[str, _Payer | TallystickError],
    deduction: Deduction | Mapping[str, object],
    charge: _Charge | TallystickError,
) -> DeductResponse | DeductFailure:
    if isinstance(charge, TallystickError):
        given = msgspec.structs.asdict(deduction) if isinstance(deduction, Deduction) else deduction
        return DeductFailure(user_id=_echo(given, "user_id"), request_id=_echo(given, "request_id"), error=charge)
    payer = payers[charge.user_id]
    try:
        if isinstance(payer, TallystickError):
            raise payer
        return await _make(lanes, payer, charge)
    except TallystickError as error:
        return DeductFailure(user_id=charge.user_id, request_id=charge.request_id, error=error)


async def _payer_or_error(connection: asyncpg.Connection, user_id: str) -> _Payer | TallystickError:
    try:
        return await resolve_payer(connection, user_id)
    except TallystickError as error:
        return error


def _checked_or_error(deduction: Deduction | Mapping[str, object]) -> _Charge | TallystickError:
    try:
        return _checked(deduction)
    except TallystickError as error:
        return error


def _checked(deduction: Deduction | Mapping[str, object]) -> _Charge:
    given = msgspec.structs.asdict(deduction) if isinstance(deduction, Deduction) else deduction
    if not isinstance(given, Mapping):
        raise InvalidInput("deductions", "must be objects with user_id and amount")
    # A misspelt request_id that was passed over would charge twice, one day.
    if unknown := set(given) - set(Deduction.__struct_fields__):
        raise InvalidInput(_echo({"name": min(unknown)}, "name") or "body", "is not a field of a deduction")
    request_id = given.get("request_id")
    return _Charge(
        user_id=text(given.get("user_id"), "user_id"),
        nano=nanocredits(given.get("amount")),
        request_id=None if request_id is None else text(request_id, "request_id"),
    )


def _echo(given: object, field: str) -> str | None:
    """What the caller gave, where it can be said back: not half a surrogate pair, and not a megabyte."""
    value = given.get(field) if isinstance(given, Mapping) else None
    try:
        return text(value, field)
    except InvalidInput:
        return None
