"""Hear of changes that other processes commit: revoked keys, suspended organizations, applied catalogs.

Writers call the SQL function `announce(kind, subject)` inside their transaction. Every process watches on a connection
of its own: a notification makes it read the table `change` at once, and it reads it every half second anyway. When the
connection was lost, each subscriber is told "" for its kind: everything may have changed.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final, Literal, get_args

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.base.errors import Unavailable

Kind = Literal["api_key", "session", "catalog", "organization", "constraints"]
Callback = Callable[[str], None]

EVERYTHING: Final = ""
KINDS: Final = frozenset(get_args(Kind))

_CHANNEL: Final = "tallystick_change"
_ANSWER_S_MAX: Final = 5.0
_RETRY_S_MIN: Final = 0.1
_RETRY_S_MAX: Final = 2.0
_PRUNE_INTERVAL_S: Final = 600.0

queries = load_queries(__file__, "changes.sql")
log = structlog.get_logger()


class Changes:
    """Tells subscribers what changed. Callbacks run on the event loop between two requests: they must be quick, and
    hearing the same thing twice must do no harm.

    `heard_at` is the time.monotonic() up to which everything committed has been passed on. Whoever may not act on
    stale knowledge compares it with now.
    """

    def __init__(self, dsn: str, poll_interval_s: float = 0.5) -> None:
        self.heard_at = float("-inf")
        self._dsn = dsn
        self._poll_interval_s = poll_interval_s
        self._callbacks: dict[str, list[Callback]] = defaultdict(list)
        self._look_now = asyncio.Event()
        self._first_contact = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._pruned_at = float("-inf")

    def subscribe(self, kind: str, callback: Callback) -> None:
        """Call `callback` with the subject of each change of this kind, or with "" when any may have happened."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not announced by anyone; known are {sorted(KINDS)}")
        self._callbacks[kind].append(callback)

    async def start(self, contact_s_max: float = 30.0) -> None:
        """Return once the database was heard; raises Unavailable when that takes longer than `contact_s_max`."""
        if self._watch is not None:
            raise RuntimeError("changes are watched already")
        self._watch = asyncio.create_task(self._watch_forever(), name="tallystick-changes")
        try:
            await asyncio.wait_for(self._first_contact.wait(), contact_s_max)
        except TimeoutError as error:
            await self.stop()
            raise Unavailable("The database cannot be reached to hear of changes.") from error

    async def stop(self) -> None:
        """Stop watching; nothing is told any more."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch_forever(self) -> None:
        retry_s = _RETRY_S_MIN
        while True:
            heard_before = self.heard_at
            try:
                await self._watch_until_lost()
            # Every failure means the same here: not hearing, so heard_at grows old and users refuse. A watch that
            # ended on one unforeseen error would leave the process refusing for ever.
            except Exception as error:  # noqa: BLE001 - see above
                log.warning("changes_not_heard", error=repr(error), retry_s=retry_s)
            retry_s = _RETRY_S_MIN if self.heard_at > heard_before else min(2 * retry_s, _RETRY_S_MAX)
            await asyncio.sleep(retry_s)

    async def _watch_until_lost(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=_ANSWER_S_MAX, command_timeout=_ANSWER_S_MAX)
        try:
            connection.add_termination_listener(lambda _: self._look_now.set())
            await connection.add_listener(_CHANNEL, lambda *_: self._look_now.set())
            # The horizon is taken before everybody is told to start afresh: what commits in between is told twice.
            asked_at = time.monotonic()
            horizon: str = await queries.horizon(connection)
            told: set[int] = set()
            for kind in self._callbacks:
                self._tell(kind, EVERYTHING)
            self._heard(asked_at)
            while True:
                await self._wait_for_a_reason_to_look()
                asked_at = time.monotonic()
                horizon, told = await self._look(connection, horizon, told)
                self._heard(asked_at)
                await self._prune_sometimes(connection)
        finally:
            # No goodbye: it would wait for a server that may be the very thing that is gone.
            connection.terminate()

    async def _wait_for_a_reason_to_look(self) -> None:
        try:
            # Not wait_for, which in Python 3.11 loses a cancellation that comes with the event.
            async with asyncio.timeout(self._poll_interval_s):
                await self._look_now.wait()
        except TimeoutError:
            return
        finally:
            self._look_now.clear()

    async def _look(self, connection: asyncpg.Connection, horizon: str, told: set[int]) -> tuple[str, set[int]]:
        """Tell what was committed since the snapshot of `horizon`, except the rows told at the last look."""
        rows = [row async for row in queries.changes_since(connection, horizon=horizon)]
        changes = [row for row in rows if row["seq"] is not None]
        for change in changes:
            if change["seq"] not in told:
                self._tell(change["kind"], change["subject"])
        return rows[0]["horizon"], {change["seq"] for change in changes}

    def _tell(self, kind: str, subject: str) -> None:
        for callback in self._callbacks.get(kind, ()):
            try:
                callback(subject)
            except Exception:  # one subscriber's defect may not keep a revocation from the others
                log.exception("change_callback_failed", kind=kind, subject=subject)

    def _heard(self, asked_at: float) -> None:
        self.heard_at = asked_at
        self._first_contact.set()

    async def _prune_sometimes(self, connection: asyncpg.Connection) -> None:
        if time.monotonic() - self._pruned_at < _PRUNE_INTERVAL_S:
            return
        self._pruned_at = time.monotonic()
        try:
            await queries.prune(connection)
        except asyncpg.PostgresError as error:
            # A read-only or full database must not deafen us: old rows cost a little room, nothing else.
            log.warning("changes_not_pruned", error=repr(error))
