"""The fields of a body that carries money: numbers exact, and what nobody asked for refused, not ignored."""

from collections.abc import Collection, Mapping

from tallystick.base import strict_json
from tallystick.base.errors import InvalidInput
from tallystick.base.money import parse_amount


def exact_fields(body: bytes, known: Collection[str]) -> dict[str, object]:
    """One that is not known is refused: a misspelt request_id would charge twice, one day. Raises InvalidInput."""
    given = strict_json.loads(body)
    for name in given:
        if name not in known:
            raise InvalidInput(name if name.isprintable() else "body", "is not a field of this request")
    return given


def flag(given: Mapping[str, object], field: str, *, default: bool) -> bool:
    """Raises InvalidInput."""
    value = given.get(field, default)
    if not isinstance(value, bool):
        raise InvalidInput(field, "must be true or false")
    return value


def amount(given: Mapping[str, object], field: str) -> int:
    """A positive number of credits, in nanocredits. Raises InvalidInput."""
    value = given.get(field)
    if isinstance(value, str):
        raise InvalidInput(field, "must be a number")
    return parse_amount(value, field)
