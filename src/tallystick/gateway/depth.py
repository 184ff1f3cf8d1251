"""JSON that can be read and not written again: what is too deep must be found before anybody pays for it (pure)."""

from typing import Final

import orjson

# So few brackets cannot be nested deeper than is written.
_BRACKETS_HARMLESS: Final = 200


def too_deep(raw: bytes, value: object) -> bool:
    """Whether `value`, read from `raw`, is nested too deeply to be written, with a little put around it."""
    if raw.count(b"[") + raw.count(b"{") <= _BRACKETS_HARMLESS:
        return False
    try:
        orjson.dumps([[[[value]]]])
    except orjson.JSONEncodeError:
        return True
    return False
