"""Ids with Stripe's prefixes and lengths; the same seed gives the same ids in the same order."""

import random
import string
from typing import Final

_ALPHABET: Final = string.ascii_letters + string.digits
_LENGTHS: Final = {"cs_test_": 58, "req_": 14, "cus_": 14, "prod_": 14, "whsec_": 32}
_LENGTH: Final = 24


class Identifiers:
    def __init__(self, seed: int | None = None) -> None:
        # Ids of a test double guard nothing; a seed exists to repeat a run exactly.
        self._random = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311

    def new(self, prefix: str) -> str:
        return prefix + "".join(self._random.choices(_ALPHABET, k=_LENGTHS.get(prefix, _LENGTH)))
