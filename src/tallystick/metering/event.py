"""A usage event as a caller tells it, checked: whole numbers, known fields, one meter. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Final

import msgspec

from tallystick.base import strict_json
from tallystick.base.errors import InvalidInput
from tallystick.catalog.plan import Meter
from tallystick.reservations.claim import UNITS_MAX

TEXT_CHARS_MAX: Final = 200
PROPERTIES_MAX: Final = 50
_PROPERTY_CHARS_MAX: Final = 500
# Past these the driver, or Python itself with an offset from UTC, overflows.
_YEAR_MIN, _YEAR_MAX = 2000, 9000

_FIELDS: Final = frozenset(
    {"id", "user_id", "organization", "meter", "quantity", "value", "at", "key", "model", "session", "properties"}
)


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was used. `quantity` is for meters that add up or keep the highest; `value`, or else `session`,
    for those that count different ones; a meter that counts events needs neither."""

    id: str
    payer: str
    """A user's or an organization's id."""
    meter: str
    quantity: int | None = None
    value: str | None = None
    at: datetime | None = None
    key: str | None = None
    model: str | None = None
    session: str | None = None
    properties: dict[str, object] | None = None

    def digest(self) -> bytes:
        """Of all that was said but of who pays, which is part of the event's identity."""
        properties = self.properties and sorted(self.properties.items())
        told = (self.meter, self.quantity, self.value, self.at, self.key, self.model, self.session, properties)
        return sha256(strict_json.dumps(told)).digest()

    def counted_value(self, meter: Meter) -> str | None:
        """What a meter of unique values counts; None for the others."""
        return (self.value or self.session) if meter.aggregation == "unique" else None


def read_event(given: object) -> UsageEvent:
    """Raises InvalidInput, naming the field, for whatever could be meant in two ways, or is passed over elsewhere."""
    if not isinstance(given, Mapping):
        raise InvalidInput("events", "must be objects with id, user_id or organization, and meter")
    # A misspelt quantity that was passed over would count one for thousands.
    for name in given:
        if name not in _FIELDS:
            raise InvalidInput(name if is_text(name) else "events", "is not a field of a usage event")
    if ("user_id" in given) == ("organization" in given):
        raise InvalidInput("user_id", "or organization is needed, and not both")
    payer = "user_id" if "user_id" in given else "organization"
    return UsageEvent(
        id=_text(given.get("id"), "id"),
        payer=_text(given[payer], payer),
        meter=_text(given.get("meter"), "meter"),
        quantity=None if given.get("quantity") is None else _units(given["quantity"]),
        at=None if given.get("at") is None else _moment(given["at"]),
        properties=None if given.get("properties") is None else _properties(given["properties"]),
        **{
            name: None if given.get(name) is None else _text(given[name], name)
            for name in ("value", "key", "model", "session")
        },
    )


def check_meter(event: UsageEvent, meter: Meter | None) -> Meter:
    """The meter, where the event says what it needs and nothing that it would not count."""
    if meter is None:
        raise InvalidInput("meter", "is none of this server's catalog")
    unique = meter.aggregation == "unique"
    if meter.aggregation in {"sum", "max"} and event.quantity is None:
        raise InvalidInput("quantity", f"is needed: {meter.name} counts {meter.unit}")
    if meter.aggregation not in {"sum", "max"} and event.quantity not in {None, 1}:
        raise InvalidInput("quantity", f"is not counted: {meter.name} counts {'values' if unique else 'events'}")
    if unique and event.value is None and event.session is None:
        raise InvalidInput("value", f"or session is needed: {meter.name} counts how many different ones there are")
    if not unique and event.value is not None:
        raise InvalidInput("value", f"is not counted: {meter.name} is no meter of unique values")
    return meter


def is_text(value: object) -> bool:
    """Short and printable: PostgreSQL takes no NUL, UTF-8 no lone surrogate."""
    return isinstance(value, str) and 0 < len(value) <= TEXT_CHARS_MAX and value.isprintable()


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not is_text(value):
        raise InvalidInput(field, f"must be a printable text of 1 to {TEXT_CHARS_MAX} characters")
    return value


def _units(value: object) -> int:
    # Not isinstance: a bool is an int too. 1.0 is refused with 1.5: who sends it may send the other next.
    if type(value) is not int or not 0 <= value <= UNITS_MAX:
        raise InvalidInput("quantity", f"must be a whole number from 0 to {UNITS_MAX}")
    return value


def _moment(value: object) -> datetime:
    try:
        at: datetime = msgspec.convert(value, Annotated[datetime, msgspec.Meta(tz=True)])
        if _YEAR_MIN <= at.year <= _YEAR_MAX:
            return at.astimezone(UTC)
    except msgspec.ValidationError:
        pass
    raise InvalidInput("at", "must be a time such as 2026-02-27T11:30:00Z, with its offset from UTC")


def _properties(value: object) -> dict[str, object]:
    """Flat, so that they can be searched and shown, and small: they are kept for ever."""
    if not isinstance(value, Mapping) or len(value) > PROPERTIES_MAX:
        raise InvalidInput("properties", f"must be an object of at most {PROPERTIES_MAX} members")
    for name, one in value.items():
        if not is_text(name):
            raise InvalidInput("properties", "must have short printable names")
        if not (one is None or isinstance(one, bool | int | Decimal) or _is_property_text(one)):
            raise InvalidInput(
                "properties", f"must be texts of at most {_PROPERTY_CHARS_MAX} characters, numbers, true, false or null"
            )
    return dict(value)


def _is_property_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _PROPERTY_CHARS_MAX and (not value or value.isprintable())
