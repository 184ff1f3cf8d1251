"""Money: integer nanocredits inside, Decimal at the edges, float nowhere.

1 CREDIT = 10**9 nanocredits = 1.00 of the install's currency. A balance fits a BIGINT: 9.2 billion credits.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Final

from tallystick.base.errors import InvalidAmount

NANO: Final = 10**9
DECIMALS: Final = 9
# Sums of many amounts must still fit a BIGINT, so one amount may use a thousandth of it.
AMOUNT_MAX_NANO: Final = 9 * 10**15


def parse_amount(value: object, field: str = "amount") -> int:
    """A positive amount of credits, as JSON (parsed by `strict_json`) or text gives it, in nanocredits.

    Raises InvalidAmount, naming `field`, for whatever is not a plain positive decimal number of at most nine
    decimals. A float is refused too: by the time it is one, digits may already be lost.
    """
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise InvalidAmount(field, "must be a decimal number")
    if isinstance(value, str):
        # Decimal() itself would take "1_000", "NaN", " 5 ", Arabic digits and "1e5".
        if not (value.isascii() and value.replace(".", "", 1).isdigit()) or len(value) > 40:
            raise InvalidAmount(field, "must be a decimal number")
        value = Decimal(value)
    if isinstance(value, int):
        # Cut to what is refused anyway: an int of a million digits would take Decimal seconds.
        value = Decimal(max(-1, min(value, AMOUNT_MAX_NANO)))
    if not value.is_finite():
        raise InvalidAmount(field, "must be a finite number")
    if value <= 0:
        raise InvalidAmount(field, "must be greater than zero")
    if value.adjusted() > 18:
        raise InvalidAmount(field, "is too large")
    # As a fraction, for Decimal's own arithmetic rounds to 28 digits and lets 1e-99999999 sink to zero.
    exact = Fraction(value) * NANO if value.adjusted() >= -DECIMALS else None
    if exact is None or exact.denominator != 1:
        raise InvalidAmount(field, f"has more than {DECIMALS} decimals")
    nano = exact.numerator
    if nano > AMOUNT_MAX_NANO:
        raise InvalidAmount(field, "is too large")
    return nano


def to_decimal(nano: int) -> Decimal:
    """Nanocredits as an exact Decimal of credits, with at least two decimals: 18500000000 -> Decimal("18.50")."""
    return Decimal(format_amount(nano))


def format_amount(nano: int) -> str:
    """Nanocredits as plain text, at least two decimals and no more than needed: "18.50", "-0.000012345"."""
    whole, part = divmod(abs(nano), NANO)
    decimals = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{whole}.{decimals}"


def from_minor(amount_minor: int, decimals: int = 2) -> int:
    """Fiat minor units (cents) at one credit per unit of currency, in nanocredits."""
    return amount_minor * int(10 ** (DECIMALS - decimals))


def to_minor(nano: int, decimals: int = 2) -> int:
    """Nanocredits as fiat minor units; raises InvalidAmount where they are not a whole number of them."""
    minor, rest = divmod(nano, int(10 ** (DECIMALS - decimals)))
    if rest:
        raise InvalidAmount("amount", f"has more than {decimals} decimals, which cannot be charged")
    return minor
