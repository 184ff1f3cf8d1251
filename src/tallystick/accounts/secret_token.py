"""Secrets that we hand out: a prefix that says what it is, and 256 random bits in 43 letters and digits."""

import hashlib
import secrets
from typing import Final

API_KEY: Final = "tsk_"
SESSION: Final = "tss_"
INVITATION: Final = "tsi_"

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES: Final = 32
_RANDOM_CHARS: Final = 43  # 62**43 is the first power of 62 above 2**256
_CHARS: Final = 4 + _RANDOM_CHARS


def new_token(prefix: str) -> str:
    """A fresh secret. Only its digest may be stored."""
    number = secrets.randbits(8 * _RANDOM_BYTES)
    chars = []
    for _ in range(_RANDOM_CHARS):
        number, digit = divmod(number, 62)
        chars.append(_ALPHABET[digit])
    return prefix + "".join(reversed(chars))


def digest(token: str) -> bytes:
    """What is stored and looked up. No salt and no slow hash: 256 random bits cannot be guessed or listed."""
    return hashlib.sha256(token.encode()).digest()


def is_token(text: str, prefix: str) -> bool:
    """Whether `text` has the shape of our secrets. The length comes first: a megabyte costs what one byte does."""
    return len(text) == _CHARS and text.startswith(prefix) and text.isascii() and text[len(prefix) :].isalnum()
