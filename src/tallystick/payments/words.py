"""What an operator writes down: why something is done, or what proves it. Pure."""

from typing import Final

from tallystick.base.errors import InvalidInput

CHARS_MAX: Final = 500


def words(text: str, field: str, chars_max: int = CHARS_MAX) -> str:
    """Without space around them. Raises InvalidInput for none, for too many, and for what cannot be printed."""
    text = text.strip()
    if not 0 < len(text) <= chars_max or not text.isprintable():
        raise InvalidInput(field, f"must be a printable text of 1 to {chars_max} characters")
    return text
