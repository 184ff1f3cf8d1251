"""Constraints documents in a running process: from memory while that is safe, from the database otherwise."""

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import asyncpg
import structlog
from msgspec.structs import replace

from tallystick.base.changes import EVERYTHING, Changes
from tallystick.base.database import AWAY, load_queries
from tallystick.base.errors import NotFound, TallystickError, Unavailable
from tallystick.base.ids import is_text_id
from tallystick.constraints.constraints import Constraints
from tallystick.subscriptions.offer import read_offer
from tallystick.subscriptions.publish import decode, publish_constraints, publish_if_old

_BATCH_MAX: Final = 500

queries = load_queries(__file__, "live.sql")
log = structlog.get_logger()

_Waiting = dict[str, asyncio.Future[Constraints]]


class LiveConstraints:
    """`cached` is the way of nearly every request; `find` also asks the database.

    A document is forgotten when `changes` tells of it or of its organization, and read again when a catalog was
    applied. When changes were not heard for longer than `deaf_s_max` every document is read again; when that fails,
    the last one holds until it was not known to be right for `stale_s_max`.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        changes: Changes,
        *,
        deaf_s_max: float = 5.0,
        stale_s_max: float = 60.0,
        read_s_max: float = 5.0,
        documents_max: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._changes = changes
        self._deaf_s_max = deaf_s_max
        self._stale_s_max = stale_s_max
        self._read_s_max = read_s_max
        self._documents_max = documents_max
        self._clock = clock
        self._documents: dict[str, Constraints] = {}
        # When each of them was read. Apart, for only who cannot reach the database asks.
        self._read_at: dict[str, float] = {}
        # What may have changed, and until when it was known not to have.
        self._doubted: dict[str, tuple[Constraints, float]] = {}
        self._waiting: _Waiting = {}
        self._reader: asyncio.Task[None] | None = None
        # Counts what was heard, so that a document read before a change is not remembered after it.
        self._heard = 0
        changes.subscribe("constraints", self._forget)
        changes.subscribe("organization", self._forget)
        changes.subscribe("catalog", lambda _subject: self._doubt_all())

    def cached(self, organization: str) -> Constraints | None:
        """The document where it is known at once; None says only that `find` must be asked."""
        if self._clock() - self._changes.heard_at > self._deaf_s_max:
            return None
        return self._documents.get(organization)

    async def find(self, organization: str) -> Constraints:
        """Raises NotFound, and Unavailable where the database cannot be asked and what is remembered is too old."""
        found = self.cached(organization)
        if found is not None:
            return found
        if not is_text_id(organization):
            raise NotFound("There is no such organization.")
        future = self._waiting.get(organization)
        if future is None:
            future = self._waiting[organization] = asyncio.get_running_loop().create_future()
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read_waiting(), name="tallystick-constraints")
        # Shielded: one request that is given up does not take the answer from the others.
        return await asyncio.shield(future)

    async def _read_waiting(self) -> None:
        """One query for all that wait. Who comes while it runs waits for the next one: an answer is never older than
        its question."""
        while self._waiting:
            batch = {name: self._waiting.pop(name) for name in [*islice(self._waiting, _BATCH_MAX)]}
            try:
                async with asyncio.timeout(self._read_s_max), self._pool.acquire() as connection:
                    await self._read(connection, batch)
            except AWAY as error:
                log.warning("constraints_not_read", error=repr(error))
                self._answer_from_memory(batch)
            except Exception as error:  # noqa: BLE001 - handed on: nobody may be left waiting for an answer
                _fail(batch.values(), error)

    async def _read(self, connection: asyncpg.Connection, batch: _Waiting) -> None:
        heard, asked_at = self._heard, self._clock()
        rows = {row["organization"]: row async for row in queries.documents(connection, organizations=[*batch])}
        old = []
        for organization, future in batch.items():
            row = rows.get(organization)
            document = None if row is None or row["old"] else decode(row["document"])
            if row is not None and document is not None:
                document = _unless_suspended(document, row["state"])
                self._answer(future, document, asked_at, remember=heard == self._heard)
            elif row is None:
                _fail([future], NotFound("There is no such organization."))
            else:
                old.append(organization)
        if old:
            await self._compile(connection, {organization: batch[organization] for organization in old})

    async def _compile(self, connection: asyncpg.Connection, batch: _Waiting) -> None:
        """After the others have their answers: it is one transaction for each."""
        offer = await read_offer(connection)
        for organization, future in batch.items():
            heard, asked_at = self._heard, self._clock()
            try:
                await publish_if_old(connection, organization, offer)
                row = await queries.document(connection, organization=organization)
                document = decode(row["document"]) or await publish_constraints(connection, organization)
            except TallystickError as error:
                _fail([future], error)
            else:
                document = _unless_suspended(document, row["state"])
                self._answer(future, document, asked_at, remember=heard == self._heard)

    def _answer(
        self, future: asyncio.Future[Constraints], document: Constraints, asked_at: float, *, remember: bool
    ) -> None:
        if not future.done():
            future.set_result(document)
        if remember:
            organization = document.organization
            self._doubted.pop(organization, None)
            self._documents[organization] = document
            self._read_at[organization] = asked_at
            if len(self._documents) > self._documents_max:
                self._drop(next(iter(self._documents)))

    def _answer_from_memory(self, batch: _Waiting) -> None:
        now = self._clock()
        for organization, future in batch.items():
            document, right_at = self._last(organization)
            if document is None or now - right_at > self._stale_s_max:
                _fail([future], Unavailable("The terms of this organization cannot be read at this moment."))
            elif not future.done():
                future.set_result(document)

    def _last(self, organization: str) -> tuple[Constraints | None, float]:
        """The last document, and until when it is known to have been right."""
        document = self._documents.get(organization)
        if document is None:
            return self._doubted.get(organization, (None, float("-inf")))
        return document, max(self._read_at[organization], self._changes.heard_at)

    def _forget(self, subject: str) -> None:
        if subject == EVERYTHING:
            self._doubt_all()
            return
        # What is known to have changed is not kept for a database that is away: it would be wrong knowingly.
        self._heard += 1
        self._drop(subject)
        self._doubted.pop(subject, None)

    def _doubt_all(self) -> None:
        self._heard += 1
        heard_at = self._changes.heard_at
        for organization, document in self._documents.items():
            self._doubted[organization] = document, max(self._read_at[organization], heard_at)
        for organization in [*islice(self._doubted, max(0, len(self._doubted) - self._documents_max))]:
            del self._doubted[organization]
        self._documents.clear()
        self._read_at.clear()

    def _drop(self, organization: str) -> None:
        self._documents.pop(organization, None)
        self._read_at.pop(organization, None)


def _unless_suspended(document: Constraints, state: str) -> Constraints:
    """An operator's suspension is no matter of the plan: it stands beside the document, and ends all access."""
    if state == "active":
        return document
    return replace(document, access=False, access_reason="This organization is suspended.")


def _fail(waiting: Iterable[asyncio.Future[Constraints]], error: Exception) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)
            # Read once here: when everybody who waited has left, nobody else would, and asyncio would complain.
            future.exception()
