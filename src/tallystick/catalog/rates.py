"""Decimal rates, as people and price lists write them, to and from the integers of `catalog.price`. Pure.

Each reading function takes `where`, the sentence's beginning ("price openai/gpt-4o"), and raises CatalogError.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from tallystick.catalog.errors import CatalogError
from tallystick.catalog.price import KINDS, MARKUP_ONE, UNITS_PER_RATE, Kind, Rates, Tier
from tallystick.catalog.tables import RatesTable, TierTable

# Per million tokens, and per image or request: more is a slip of the pen, and every rate below fits a BIGINT.
DOLLARS_MAX: Final = 1_000_000
DOLLARS_MAX_ONE: Final = 1_000
DECIMALS: Final = 9
# Rates of these kinds are written per one, all others per million.
PER_ONE: Final[tuple[Kind, ...]] = ("image", "request")
TOKEN_KINDS: Final[tuple[Kind, ...]] = tuple(kind for kind in KINDS if kind not in PER_ONE)


def read_rates(table: RatesTable, where: str) -> Rates:
    """The rates of a table; at least one must be given, for what has no rate at all would be free by mistake."""
    written = {kind: read_rate(value, where, kind) for kind in KINDS if (value := getattr(table, kind)) is not None}
    if not written:
        raise CatalogError([f"{where}: needs a rate, such as input"])
    return Rates(**written, tiers=_read_tiers(table.tiers, written, where))


def read_rate(dollars: Decimal, where: str, kind: Kind) -> int:
    """Dollars per million tokens (or per image, per request) as nanocredits per 1,000,000 units."""
    return _scaled(dollars, where, kind, places=DECIMALS) * (UNITS_PER_RATE if kind in PER_ONE else 1)


def read_markup(markup: Decimal, where: str) -> int:
    """1.25 as 1_250_000 millionths."""
    ppm = _scaled(markup, where, "markup", places=6)
    if not 0 < ppm <= 1000 * MARKUP_ONE:
        raise CatalogError([f"{where}: markup must be above 0 and at most 1000"])
    return ppm


def show_rate(rate: int, kind: Kind) -> str:
    """The inverse of `read_rate`, as plain text: 75_000_000 -> "0.075"."""
    places = 10**DECIMALS * (UNITS_PER_RATE if kind in PER_ONE else 1)
    return _plain(Decimal(rate) / places)


def show_markup(markup_ppm: int) -> str:
    return _plain(Decimal(markup_ppm) / MARKUP_ONE)


def _read_tiers(tables: Iterable[TierTable], base: dict[Kind, int], where: str) -> tuple[Tier, ...]:
    tiers: list[Tier] = []
    for table in tables:
        here = f"{where}: tiers above_input_tokens = {table.above_input_tokens}"
        if table.above_input_tokens < 0 or (tiers and table.above_input_tokens <= tiers[-1].above_input_tokens):
            raise CatalogError([f"{here}: tiers must have ascending bounds of 0 or more"])
        changed = {
            kind: read_rate(value, here, kind) for kind in TOKEN_KINDS if (value := getattr(table, kind)) is not None
        }
        if not changed:
            raise CatalogError([f"{here}: needs a rate, such as input"])
        for parent in ("input", "output"):
            if parent in changed and parent not in base:
                raise CatalogError([f"{here}: {parent} has a rate here but none below this tier"])
        tiers.append(Tier(above_input_tokens=table.above_input_tokens, **changed))
    return tuple(tiers)


def _scaled(value: Decimal, where: str, field: str, places: int) -> int:
    if not value.is_finite():
        raise CatalogError([f"{where}: {field} must be a finite number"])
    if value < 0:
        raise CatalogError([f"{where}: {field} must not be negative"])
    # The size is looked at before the digits: 1e999999999 must not be written out as an integer.
    if (value and value.adjusted() > 6) or value > (DOLLARS_MAX_ONE if field in PER_ONE else DOLLARS_MAX):
        raise CatalogError([f"{where}: {field} is too large"])
    # As a fraction, for Decimal's own arithmetic rounds to 28 digits and lets 1e-99999999 sink to zero.
    exact = Fraction(value) * int(10**places) if not value or value.adjusted() >= -places else None
    if exact is None or exact.denominator != 1:
        raise CatalogError([f"{where}: {field} has more than {places} decimals"])
    return exact.numerator


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
