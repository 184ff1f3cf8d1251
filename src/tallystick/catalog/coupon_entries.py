"""A coupon of a catalog file to its document, with the checks that a type cannot make, and back to words. Pure."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from tallystick.base.errors import InvalidAmount
from tallystick.base.money import format_amount, from_minor, parse_amount, to_minor
from tallystick.catalog.document import Coupon
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.tables import CouponTable

# Typed by people, in capitals or not; kept in capitals.
_CODE: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{2,39}")
_KINDS: Final = ("percent_off", "amount_off", "bonus_credits", "free_credits")
_COUNT_MAX: Final = 10**9
_DAYS_MAX: Final = 3650


def read_coupon(table: CouponTable, where: str) -> Coupon:
    code = table.code.upper()
    if not _CODE.fullmatch(code):
        raise CatalogError([f"{where}: code must be 3 to 40 letters, digits and '-'"])
    if sum(getattr(table, kind) is not None for kind in _KINDS) != 1:
        raise CatalogError([f"{where}: needs exactly one of {', '.join(_KINDS)}"])
    if table.percent_off is not None and not 1 <= table.percent_off <= 99:
        raise CatalogError([f"{where}: percent_off must be between 1 and 99"])
    if table.free_days is not None and table.free_credits is None:
        raise CatalogError([f"{where}: free_days goes with free_credits only: bought credits never expire"])
    if table.free_credits is not None and (table.packs is not None or table.first_purchase):
        raise CatalogError([f"{where}: packs and first_purchase go with an order, and free_credits needs none"])
    if table.packs == []:
        raise CatalogError([f"{where}: packs must name at least one pack"])
    _within(table.free_days, _DAYS_MAX, where, "free_days")
    _within(table.redemptions_max, _COUNT_MAX, where, "redemptions_max")
    each = None if table.per_organization_max == "unlimited" else table.per_organization_max
    _within(each, _COUNT_MAX, where, "per_organization_max")
    starts, ends = _moment(table.starts, where, "starts"), _moment(table.ends, where, "ends")
    if starts is not None and ends is not None and ends <= starts:
        raise CatalogError([f"{where}: ends must be after starts"])
    off = _amount(table.amount_off, where, "amount_off")
    return Coupon(
        code=code,
        percent_off=table.percent_off,
        amount_off_minor=None if off is None else _minor(off, where),
        bonus=_amount(table.bonus_credits, where, "bonus_credits"),
        free=_amount(table.free_credits, where, "free_credits"),
        free_days=table.free_days,
        starts=starts,
        ends=ends,
        redemptions_max=table.redemptions_max,
        per_organization_max=each,
        packs=None if table.packs is None else tuple(table.packs),
        first_purchase=table.first_purchase,
    )


def describe_coupon(coupon: Coupon) -> dict[str, str | None]:
    """Its fields as a catalog file writes them; None for what is not set."""
    off = coupon.amount_off_minor
    each = coupon.per_organization_max
    return {
        "percent_off": None if coupon.percent_off is None else str(coupon.percent_off),
        "amount_off": None if off is None else format_amount(from_minor(off)),
        "bonus_credits": None if coupon.bonus is None else format_amount(coupon.bonus),
        "free_credits": None if coupon.free is None else format_amount(coupon.free),
        "free_days": None if coupon.free_days is None else str(coupon.free_days),
        "starts": _shown(coupon.starts),
        "ends": _shown(coupon.ends),
        "redemptions_max": None if coupon.redemptions_max is None else str(coupon.redemptions_max),
        "per_organization_max": "unlimited" if each is None else str(each),
        "packs": None if coupon.packs is None else " ".join(coupon.packs),
        "first_purchase": "true" if coupon.first_purchase else None,
    }


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _within(value: int | None, most: int, where: str, field: str) -> None:
    if value is not None and not 1 <= value <= most:
        raise CatalogError([f"{where}: {field} must be between 1 and {most}"])


def _moment(value: datetime | None, where: str, field: str) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise CatalogError([f"{where}: {field} needs an offset, such as {value.isoformat()}Z"])
    return value and value.astimezone(UTC)


def _amount(value: Decimal | None, where: str, field: str) -> int | None:
    try:
        return None if value is None else parse_amount(value, field)
    except InvalidAmount as error:
        raise CatalogError([f"{where}: {error.message}"]) from error


def _minor(nano: int, where: str) -> int:
    try:
        return to_minor(nano)
    except InvalidAmount as error:
        raise CatalogError([f"{where}: amount_off has more than 2 decimals"]) from error
