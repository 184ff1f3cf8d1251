"""JSON in and out for everything that carries money: numbers are exact, ambiguity is refused."""

import json
import re
from decimal import Decimal, InvalidOperation

import msgspec

from tallystick.base.errors import InvalidInput

_encoder = msgspec.json.Encoder(decimal_format="number")
_DIGITS_MAX = 60
# NUL, which PostgreSQL does not store, and half of a surrogate pair, which UTF-8 cannot say.
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


def loads(body: bytes) -> dict[str, object]:
    """A JSON object whose numbers are int or Decimal. Raises InvalidInput for anything that could be read in two
    ways, naming its field where it has one: duplicate keys, NaN, Infinity, an exponent or length out of range, text
    that no database takes; and, for the body as a whole, nesting past Python's limit and other encodings."""
    try:
        value = json.loads(
            body.decode(),
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_Refused,
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


class _Refused:
    """Stands for a number that is refused, until the object around it knows the name of its field."""

    def __init__(self, text: str) -> None:
        self.problem = "is a number out of range" if text[-1:].isdigit() else f"is {text}, which is not a number"


def _decimal(text: str) -> Decimal | _Refused:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return _Refused(text)
    if len(text) > _DIGITS_MAX or abs(number.adjusted()) > _DIGITS_MAX:
        return _Refused(text)
    return number


def _integer(text: str) -> int | _Refused:
    return int(text) if len(text) <= _DIGITS_MAX else _Refused(text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if _NOT_TEXT.search(key):
            raise InvalidInput("body", "has a key with characters that are no text")
        if key in found:
            raise InvalidInput(_name(key), "is given twice")
        _refuse(key, value)
        found[key] = value
    return found


def _refuse(key: str, value: object) -> None:
    if isinstance(value, _Refused):
        raise InvalidInput(_name(key), value.problem)
    if isinstance(value, str) and _NOT_TEXT.search(value):
        raise InvalidInput(_name(key), "holds characters that are no text")
    if isinstance(value, list):
        for item in value:
            _refuse(key, item)


def _name(key: str) -> str:
    # What is said back must be short and encodable: a key may be megabytes long, or half a surrogate pair.
    return key if key.isprintable() and len(key) <= 100 else "body"
