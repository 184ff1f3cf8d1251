"""Check what a caller passes in, before it comes near the books. Pure."""

from decimal import Decimal
from typing import Final

from tallystick.base.errors import InvalidAmount, InvalidInput
from tallystick.base.money import parse_amount
from tallystick.library.answers import Amount

TEXT_CHARS_MAX: Final = 200
_SEQ_MAX: Final = 2**63 - 1


def nanocredits(amount: object) -> int:
    """A positive number of credits. A float counts as the decimal number that Python shows for it: 0.05 is 0.05, and
    0.1 + 0.2, which is 0.30000000000000004, has too many decimals. Raises InvalidAmount."""
    found = number(amount)
    return parse_amount(Decimal(repr(found)) if isinstance(found, float) else found)


def number(amount: object) -> Amount:
    """Raises InvalidAmount for a text, a boolean and whatever else is no number."""
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int | float):
        raise InvalidAmount("amount", "must be a number")
    return amount


def text(value: object, field: str) -> str:
    """Raises InvalidInput for anything but a short printable text."""
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_CHARS_MAX or not value.isprintable():
        raise InvalidInput(field, f"must be a printable text of 1 to {TEXT_CHARS_MAX} characters")
    return value


def sequence_number(cursor: str | None) -> int | None:
    """The place in the history a cursor stands for. Raises InvalidInput."""
    if cursor is None:
        return None
    digits = cursor.isascii() and cursor.isdigit() and len(cursor) <= len(str(_SEQ_MAX))
    if not digits or int(cursor) > _SEQ_MAX:
        raise InvalidInput("cursor", "must be the next_cursor of an earlier answer")
    return int(cursor)
