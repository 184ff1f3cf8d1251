"""Who presents this API key? Answered from memory, and never from a memory that is too old to know of a revocation."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import asyncpg
import structlog

from tallystick.accounts import secret_token
from tallystick.accounts.known_keys import Caller, KnownKeys
from tallystick.base.changes import Changes
from tallystick.base.database import AWAY, load_queries
from tallystick.base.errors import Unauthorized, Unavailable

__all__ = ["Caller", "KeyRing"]

_BATCH_MAX: Final = 500
_UNKNOWN_S: Final = 5.0
_DIGEST_HEX_CHARS: Final = 64

queries = load_queries(__file__, "authenticate.sql")
log = structlog.get_logger()

_Waiting = dict[bytes, asyncio.Future[Caller | None]]


class KeyRing:
    """The keys a process has met. `cached` is the way of nearly every request; `caller` also asks the database.

    A key is forgotten when `changes` tells of it or of its organization. When changes were not heard for longer than
    `deaf_s_max`, what is remembered is not trusted and every key is read again.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        changes: Changes,
        *,
        keys_max: int = 100_000,
        unknown_max: int = 10_000,
        deaf_s_max: float = 5.0,
        read_s_max: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._changes = changes
        self._deaf_s_max = deaf_s_max
        self._read_s_max = read_s_max
        self._clock = clock
        self._known = KnownKeys(keys_max)
        # Well-formed secrets that nobody has: someone who tries them again and again costs no query each time.
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._unknown_max = unknown_max
        self._waiting: _Waiting = {}
        self._reader: asyncio.Task[None] | None = None
        # Counts what was heard, so that a row read before a revocation is not remembered after it.
        self._heard = 0
        changes.subscribe("api_key", self._forget_key)
        changes.subscribe("organization", self._forget_organization)

    def cached(self, secret: str) -> Caller | None:
        """The caller where that is known at once; None says nothing about the key, only that `caller` must be asked."""
        if not secret_token.is_token(secret, secret_token.API_KEY):
            return None
        now = self._clock()
        if now - self._changes.heard_at > self._deaf_s_max:
            return None
        return self._known.get(secret_token.digest(secret), now)

    async def caller(self, secret: str) -> Caller:
        """Raises Unauthorized for everything that is not a live key, and Unavailable when that cannot be told."""
        found = self.cached(secret)
        if found is None and secret_token.is_token(secret, secret_token.API_KEY):
            digest = secret_token.digest(secret)
            if self._clock() >= self._unknown.get(digest, float("-inf")):
                found = await self._read(digest)
        if found is None:
            raise Unauthorized("No, unknown, revoked or expired API key.")
        return found

    async def _read(self, digest: bytes) -> Caller | None:
        future = self._waiting.get(digest)
        if future is None:
            future = self._waiting[digest] = asyncio.get_running_loop().create_future()
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read_waiting(), name="tallystick-keys")
        # Shielded: one request that is given up does not take the answer from the others.
        return await asyncio.shield(future)

    async def _read_waiting(self) -> None:
        """One query for all that wait. Who comes while it runs waits for the next one: an answer is never older than
        its question, and however many unknown keys arrive, they take one connection."""
        while self._waiting:
            batch = {digest: self._waiting.pop(digest) for digest in [*self._waiting][:_BATCH_MAX]}
            heard, asked_at = self._heard, self._clock()
            try:
                async with asyncio.timeout(self._read_s_max), self._pool.acquire() as connection:
                    rows = [row async for row in queries.keys_by_hash(connection, hashes=[*batch])]
            # The answer is not known, which is no reason to let anybody in or to call a key wrong.
            except AWAY as error:
                log.warning("keys_not_read", error=repr(error))
                _fail(batch.values(), Unavailable("API keys cannot be checked at this moment."))
            except Exception as error:  # noqa: BLE001 - handed on: nobody may be left waiting for an answer
                _fail(batch.values(), error)
            else:
                self._answer(batch, {row["hash"]: row for row in rows}, asked_at, remember=heard == self._heard)

    def _answer(
        self, batch: _Waiting, rows: Mapping[bytes, asyncpg.Record], asked_at: float, *, remember: bool
    ) -> None:
        for digest, future in batch.items():
            row = rows.get(digest)
            caller = None if row is None else _caller(row)
            if not future.done():
                future.set_result(caller)
            if not remember:
                continue
            if row is None or caller is None:
                self._remember_unknown(digest, asked_at + _UNKNOWN_S)
            else:
                left_s = row["seconds_left"]
                self._known.put(digest, caller, float("inf") if left_s is None else asked_at + left_s)

    def _remember_unknown(self, digest: bytes, until: float) -> None:
        self._unknown[digest] = until
        self._unknown.move_to_end(digest)
        if len(self._unknown) > self._unknown_max:
            self._unknown.popitem(last=False)

    def _forget_key(self, subject: str) -> None:
        self._heard += 1
        if len(subject) == _DIGEST_HEX_CHARS:
            digest = bytes.fromhex(subject)
            self._known.forget(digest)
            self._unknown.pop(digest, None)
        else:
            self._known.clear()
            self._unknown.clear()

    def _forget_organization(self, subject: str) -> None:
        self._heard += 1
        if subject:
            self._known.forget_organization(subject)
        else:
            self._known.clear()


def _caller(row: asyncpg.Record) -> Caller:
    fields = {field: row[field] for field in Caller.__struct_fields__}
    return Caller(**fields | {"scopes": tuple(fields["scopes"])})


def _fail(waiting: Iterable[asyncio.Future[Caller | None]], error: Exception) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)
            # Read once here: when everybody who waited has left, nobody else would, and asyncio would complain.
            future.exception()
