"""Typed reading of a call's parameters, refusing in Stripe's words what is missing, malformed or unknown."""

import re
from collections.abc import Callable, Collection
from typing import TypeVar

from tallystick.sandbox.stripe.form import Fields
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_METADATA_KEYS_MAX = 50
_METADATA_KEY_MAX = 40
_METADATA_VALUE_MAX = 500

Read = TypeVar("Read")


class Parameters:
    """One level of fields. Every field that is read is ticked off; `finish` refuses what nobody asked for, because
    a sandbox that silently ignores a parameter teaches the wrong thing."""

    def __init__(self, fields: Fields, path: str = "") -> None:
        self._fields = fields
        self._path = path
        self._read: set[str] = set()
        self._children: list[Parameters] = []

    def name(self, field: str) -> str:
        return f"{self._path}[{field}]" if self._path else field

    def has(self, field: str) -> bool:
        return field in self._fields

    def text(self, field: str, *, max_length: int = 5000) -> str | None:
        """The text of a field; None when it is absent or empty, which is how Stripe is told to unset it."""
        self._read.add(field)
        value = self._fields.get(field)
        if isinstance(value, dict):
            raise invalid_parameter(self.name(field), f"Invalid string: {self.name(field)}")
        if value is not None and len(value) > max_length:
            raise invalid_parameter(self.name(field), f"Invalid string: must be at most {max_length} characters")
        return value or None

    def integer(self, field: str, *, minimum: int | None = None, maximum: int | None = None) -> int | None:
        text = self.text(field)
        if text is None:
            return None
        if not _INTEGER.fullmatch(text):
            raise invalid_parameter(self.name(field), f"Invalid integer: {text}", "parameter_invalid_integer")
        value = int(text)
        if minimum is not None and value < minimum:
            message = f"This value must be greater than or equal to {minimum}."
            raise invalid_parameter(self.name(field), message, "parameter_invalid_integer")
        if maximum is not None and value > maximum:
            message = f"This value must be less than or equal to {maximum}."
            raise invalid_parameter(self.name(field), message, "parameter_invalid_integer")
        return value

    def flag(self, field: str) -> bool | None:
        text = self.text(field)
        if text not in {None, "true", "false"}:
            raise invalid_parameter(self.name(field), f"Invalid boolean: {text}")
        return None if text is None else text == "true"

    def choice(self, field: str, options: Collection[str]) -> str | None:
        text = self.text(field)
        if text is not None and text not in options:
            listed = ", ".join(options)
            raise invalid_parameter(self.name(field), f"Invalid {self.name(field)}: must be one of {listed}")
        return text

    def url(self, field: str) -> str | None:
        text = self.text(field)
        if text is not None and not text.startswith(("http://", "https://")):
            raise invalid_parameter(self.name(field), "Not a valid URL", "url_invalid")
        return text

    def currency(self, field: str = "currency") -> str | None:
        text = self.text(field)
        if text is not None and not re.fullmatch(r"[A-Za-z]{3}", text):
            raise invalid_parameter(self.name(field), f"Invalid currency: {text}", "invalid_currency")
        return text.lower() if text else None

    def metadata(self, field: str = "metadata") -> dict[str, str] | None:
        """Metadata to merge: None when absent; a value of "" asks to remove its key, metadata="" to remove all."""
        self._read.add(field)
        value = self._fields.get(field)
        if value is None or isinstance(value, str):
            return None if value is None else {}
        given = {key: text for key, text in value.items() if isinstance(text, str)}
        if len(given) != len(value):
            raise invalid_parameter(self.name(field), "Metadata values must be strings")
        if len(given) > _METADATA_KEYS_MAX:
            raise invalid_parameter(self.name(field), f"Metadata can have up to {_METADATA_KEYS_MAX} keys")
        for key, text in given.items():
            if len(key) > _METADATA_KEY_MAX or len(text) > _METADATA_VALUE_MAX:
                message = f"Metadata keys can have {_METADATA_KEY_MAX} characters, values {_METADATA_VALUE_MAX}"
                raise invalid_parameter(f"{self.name(field)}[{key}]", message)
        return given

    def level(self, field: str) -> "Parameters | None":
        """The fields one level down: `price_data` of `price_data[currency]`."""
        self._read.add(field)
        value = self._fields.get(field)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            raise invalid_parameter(self.name(field), f"Invalid object: {self.name(field)}")
        return self._child(value, self.name(field))

    def levels(self, field: str) -> "list[Parameters]":
        """The objects of an array: `line_items[0][quantity]`, in the order of their indexes."""
        return [
            self._child(value, f"{self.name(field)}[{index}]")
            for index, value in self._array(field)
            if isinstance(value, dict)
        ]

    def texts(self, field: str) -> list[str]:
        """The strings of an array: `expand[0]=customer` or `expand[]=customer`."""
        return [value for _, value in self._array(field) if isinstance(value, str)]

    def created(self) -> Callable[[int], bool]:
        """The `created` filter of a list: an exact second or any of gt, gte, lt, lte."""
        if isinstance(self._fields.get("created"), str):
            exact = self.integer("created")
            return lambda at: at == exact
        bounds = self.level("created")
        if bounds is None:
            return lambda _: True
        above, from_ = bounds.integer("gt"), bounds.integer("gte")
        below, to = bounds.integer("lt"), bounds.integer("lte")
        return lambda at: (
            (above is None or at > above)
            and (from_ is None or at >= from_)
            and (below is None or at < below)
            and (to is None or at <= to)
        )

    def require(self, value: Read | None, field: str) -> Read:
        """The value of a field that must be there."""
        if value is None:
            name = self.name(field)
            raise invalid_parameter(name, f"Missing required param: {name}.", "parameter_missing")
        return value

    def finish(self) -> None:
        """Refuses parameters that nobody read, at this level and below."""
        unknown = [self.name(field) for field in self._fields if field not in self._read]
        if unknown:
            message = f"Received unknown parameter: {unknown[0]}"
            raise Refusal(400, message, code="parameter_unknown", param=unknown[0], kept=False)
        for child in self._children:
            child.finish()

    def _array(self, field: str) -> "list[tuple[str, str | Fields]]":
        self._read.add(field)
        value = self._fields.get(field)
        if value is None or value == "":
            return []
        if isinstance(value, str) or not all(index.isdecimal() for index in value):
            raise invalid_parameter(self.name(field), "Invalid array")
        return sorted(value.items(), key=lambda pair: int(pair[0]))

    def _child(self, fields: Fields, path: str) -> "Parameters":
        child = Parameters(fields, path)
        self._children.append(child)
        return child
