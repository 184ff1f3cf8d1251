"""Names that people give to organizations and keys, to be shown on pages and in exports."""

from typing import Final

from tallystick.base.errors import InvalidInput

# An e-mail address, the name of a personal organization that was given no other, must fit.
CHARS_MAX: Final = 254


def check_name(text: str, field: str = "name") -> str:
    """The name without blanks around it; raises InvalidInput for an empty or long one, or one with control characters
    (among them NUL, which PostgreSQL refuses, and marks that turn the direction of text)."""
    name = text.strip()
    if not name:
        raise InvalidInput(field, "must not be empty")
    if len(name) > CHARS_MAX:
        raise InvalidInput(field, f"must have at most {CHARS_MAX} characters")
    if not name.isprintable():
        raise InvalidInput(field, "must not hold control characters")
    return name
