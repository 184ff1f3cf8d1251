"""JSON as Stripe writes it, indented. Much is written here, so it is not the standard library that does it."""

from typing import Any

import msgspec

_INDENT = 2


def written(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=_INDENT).decode()


def copied(value: Any) -> Any:
    """A copy that shares nothing with what may change later."""
    return msgspec.json.decode(msgspec.json.encode(value))
