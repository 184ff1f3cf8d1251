"""Stripe's form encoding: `a[b][0]=c` becomes {"a": {"b": {"0": "c"}}}; who reads it knows what is a list."""

import re
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import parse_qsl

from tallystick.sandbox.stripe.refusal import Refusal

Fields: TypeAlias = dict[str, "str | Fields"]

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_DEPTH_MAX = 10
_FIELDS_MAX = 5000


def decode(text: str) -> Fields:
    """The fields of a query string or a form body. Raises Refusal for what is not one."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise Refusal(400, "Invalid request: the form could not be read.", kept=False) from error
    return nest(pairs)


def nest(pairs: Iterable[tuple[str, str]]) -> Fields:
    root: Fields = {}
    for key, value in pairs:
        matched = _KEY.fullmatch(key)
        if matched is None:
            raise Refusal(400, f"Invalid parameter name: {key}", param=key, kept=False)
        parts = [matched[1], *_PART.findall(matched[2])]
        if len(parts) > _DEPTH_MAX:
            raise Refusal(400, f"Parameter nested too deeply: {key}", param=key, kept=False)
        _place(root, parts, value, key)
    return root


def _place(fields: Fields, parts: list[str], value: str, key: str) -> None:
    for part in parts[:-1]:
        below = fields.setdefault(part or str(len(fields)), {})
        if isinstance(below, str):
            raise Refusal(400, f"Parameter given twice, as text and as an object: {key}", param=key, kept=False)
        fields = below
    # `a[]=x` appends, as in `expand[]=customer`; a repeated plain key keeps its last value.
    fields[parts[-1] or str(len(fields))] = value
