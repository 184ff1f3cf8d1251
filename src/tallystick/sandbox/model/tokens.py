"""The sandbox's exact way to count tokens, simple enough to do by hand.

- A token is the shortest run of whole characters of at least four UTF-8 bytes; the last one of a text may be shorter.
  ASCII text of n characters is therefore ceil(n / 4) tokens.
- A message costs 3 tokens more than its text, an image part 85, a function call its name and its arguments.
- Tools cost the tokens of their compact JSON.
"""

from typing import Any, Final

import msgspec

PER_MESSAGE: Final = 3
PER_IMAGE: Final = 85
_BYTES: Final = 4


def pieces(text: str) -> list[str]:
    """The text cut into its tokens."""
    if text.isascii():
        return [text[start : start + _BYTES] for start in range(0, len(text), _BYTES)]
    cut: list[str] = []
    piece, size = "", 0
    for character in text:
        piece += character
        size += len(character.encode())
        if size >= _BYTES:
            cut.append(piece)
            piece, size = "", 0
    return [*cut, piece] if piece else cut


def count(text: str) -> int:
    return -(-len(text) // _BYTES) if text.isascii() else len(pieces(text))


def count_json(value: Any) -> int:
    return count(msgspec.json.encode(value).decode())
