"""E-mail addresses, in the one form in which they are stored and compared."""

import re
from typing import Final

from tallystick.base.errors import InvalidInput

_CHARS_MAX: Final = 254
# What HTML's input type=email takes, with a dot required in the domain. ASCII only: letters of other scripts can look
# alike, and upper and lower case then depend on the database's locale.
_ADDRESS: Final = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+"
)


def normalize_email(text: str, field: str = "email") -> str:
    """The address in lower case without blanks around it; raises InvalidInput where it is none."""
    # The length comes first, so that the pattern never runs over a megabyte.
    email = text.strip().lower() if len(text) <= 2 * _CHARS_MAX else ""
    if not (email.isascii() and len(email) <= _CHARS_MAX and _ADDRESS.fullmatch(email)):
        raise InvalidInput(field, "must be an e-mail address")
    return email
