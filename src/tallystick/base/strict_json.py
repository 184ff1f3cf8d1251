"""JSON in and out for everything that carries money: numbers are exact, ambiguity is refused."""

import json
from decimal import Decimal, InvalidOperation
from typing import NoReturn

import msgspec

from tallystick.base.errors import InvalidInput

_encoder = msgspec.json.Encoder(decimal_format="number")
_DIGITS_MAX = 60


def loads(body: bytes) -> dict[str, object]:
    """A JSON object whose numbers are int or Decimal. Raises InvalidInput for anything that could be read in two
    ways: duplicate keys, NaN, Infinity, an exponent out of range, nesting past Python's limit, other encodings."""
    try:
        value = json.loads(
            body.decode(),
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_constant,
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidInput("body", "must be a JSON object") from error
    if not isinstance(value, dict):
        raise InvalidInput("body", "must be a JSON object")
    return value


def dumps(value: object) -> bytes:
    """JSON with Decimal written as an exact number and datetimes as RFC 3339."""
    return _encoder.encode(value)


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise InvalidInput("body", "holds a number out of range") from error
    if len(text) > _DIGITS_MAX or abs(number.adjusted()) > _DIGITS_MAX:
        raise InvalidInput("body", "holds a number out of range")
    return number


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise InvalidInput("body", "holds a number out of range")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise InvalidInput("body", f"holds {text}, which is not a number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidInput("body", "holds the same key twice")
    return found
