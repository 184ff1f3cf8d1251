"""Passwords: argon2id, off the event loop, the same work whether or not there is a user to compare with."""

import asyncio
import functools
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from tallystick.base.errors import InvalidInput, Unavailable

CHARS_MIN: Final = 8
CHARS_MAX: Final = 1024
# OWASP's second choice of parameters: 19 MiB a hash, so that two at a time fit into a worker's memory budget.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_THREADS: Final = 2
_WAITING_MAX: Final = 100

_Result = TypeVar("_Result")


class _Hashing:
    """A few threads of their own: hashing may neither stop the event loop nor fill the memory."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tallystick-password")
        self._waiting = 0

    async def run(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= _WAITING_MAX:
            raise Unavailable("Too many people are signing in at this moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


_hashing = _Hashing()


async def hash_password(password: str, field: str = "password") -> str:
    """What is stored for a new password; raises InvalidInput, naming `field`, for one that is too short or too long."""
    prepared = _prepare(password, field)
    if len(prepared) < CHARS_MIN:
        raise InvalidInput(field, f"must have at least {CHARS_MIN} characters")
    return await _hashing.run(lambda: _hasher.hash(prepared))


async def matches(stored: str | None, password: str, field: str = "password") -> bool:
    """Whether `password` is the stored one. Without a stored one the same work is done and the answer is no."""
    prepared = _prepare(password, field)
    return await _hashing.run(lambda: _verify(stored, prepared))


def _prepare(password: str, field: str) -> str:
    if len(password) > CHARS_MAX:
        raise InvalidInput(field, f"must have at most {CHARS_MAX} characters")
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(field, "must be valid Unicode text") from error
    # Keyboards differ in how they compose an accented letter; what the person typed is the same.
    return unicodedata.normalize("NFKC", password)


def _verify(stored: str | None, prepared: str) -> bool:
    # The decoy is looked up on both ways, so that making it once costs the first caller, whoever that is.
    decoy = _decoy()
    try:
        return _hasher.verify(stored or decoy, prepared) and stored is not None
    except VerifyMismatchError:
        return False


@functools.cache
def _decoy() -> str:
    return _hasher.hash(secrets.token_hex(32))
