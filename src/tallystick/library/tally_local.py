"""A Tallystick in process: on the database, with writers and constraints of its own. The API's routes use it too."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg

from tallystick.accounts.organization import resolve_payer
from tallystick.base.changes import Changes
from tallystick.base.errors import InvalidInput, NotFound, QuotaExceeded
from tallystick.catalog.book import Book
from tallystick.catalog.live import LiveBook
from tallystick.constraints.constraints import Constraints
from tallystick.library.charge_hold import hold_charge, release_charge, settle_charge
from tallystick.library.database import open_database
from tallystick.library.inputs import text
from tallystick.library.tally_engine import HeldCharge, SettledCharge
from tallystick.quotas import admit, usage
from tallystick.quotas.exceeded import Exceeded
from tallystick.quotas.reading import reading
from tallystick.quotas.use import QuotaCheck, TierUsage, Use
from tallystick.reservations.hold import HoldNotFound
from tallystick.reservations.lanes import Lanes
from tallystick.subscriptions.live import LiveConstraints

_PAYERS_MAX: Final = 100_000


@asynccontextmanager
async def open_local(database_url: str) -> AsyncIterator["LocalTally"]:
    """For as long as the block lasts."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(await open_database(database_url))
        changes, lanes = Changes(database_url), Lanes(database_url)
        constraints = LiveConstraints(pool, changes)
        # Meters need no credential of a provider.
        book = LiveBook(pool, changes, lambda _reference: None)
        for part in (changes, lanes, book):
            await part.start()
            stack.push_async_callback(part.stop)
        tally = LocalTally(pool, lanes, constraints, lambda: book.current)
        stack.push_async_callback(tally.stop)
        yield tally


class LocalTally:
    """What it is handed stays the caller's to start and to stop."""

    def __init__(
        self, pool: asyncpg.Pool, lanes: Lanes, constraints: LiveConstraints, book: Callable[[], Book]
    ) -> None:
        self._pool = pool
        self._lanes = lanes
        self._constraints = constraints
        self._book = book
        self._exceeded = Exceeded(pool)
        # Who pays for whom never changes, so that it need not be asked again.
        self._payers: OrderedDict[str, tuple[str, int]] = OrderedDict()

    async def stop(self) -> None:
        """Wait for what organizations are being told."""
        await self._exceeded.stop()

    async def tier(self, user: str) -> str:
        return (await self._of(user)).tier

    async def usage(self, user: str) -> TierUsage:
        constraints = await self._of(user)
        async with reading(self._pool) as connection:
            return await usage.usage(connection, constraints)

    async def check(self, user: str, feature: str, units: int) -> QuotaCheck:
        constraints = await self._of(user)
        async with reading(self._pool) as connection:
            return await usage.check(connection, constraints, feature, units=units)

    async def use(self, user: str, feature: str, units: int, request_id: str | None) -> Use:
        constraints, now = await self._of(user), datetime.now(UTC)
        try:
            return await admit.admit(
                self._pool,
                self._lanes,
                constraints,
                feature,
                now=now,
                units=units,
                request_id=None if request_id is None else text(request_id, "request_id"),
            )
        except QuotaExceeded as refusal:
            self._exceeded.tell(constraints, refusal, now)
            raise

    async def give_back(self, user: str, use: str) -> None:
        _organization, account = await self._payer(user)
        async with reading(self._pool) as connection:
            # Whatever else has an id would be ended as well, and nobody would pay for it.
            if not await usage.is_use(connection, account, _uuid(use)):
                raise HoldNotFound("There is no such use.")
        await admit.give_back(self._lanes, account, _uuid(use))

    async def reserve(
        self, user: str, meter: str, quantity: int, *, feature: str | None, request_id: str | None, lasts_s: int
    ) -> HeldCharge:
        now = datetime.now(UTC)
        known = self._book().meters(now).get(text(meter, "meter"))
        if known is None:
            # One that is misspelt would be recorded, and never be billed.
            raise InvalidInput("meter", "is not in the catalog")
        constraints = await self._of(user)
        try:
            return await hold_charge(
                self._pool,
                self._lanes,
                constraints,
                known,
                quantity,
                now=now,
                feature=feature,
                request_id=None if request_id is None else text(request_id, "request_id"),
                lasts_s=lasts_s,
            )
        except QuotaExceeded as refusal:
            self._exceeded.tell(constraints, refusal, now)
            raise

    async def settle(self, user: str, charge: str, quantity: int | None) -> SettledCharge:
        _organization, account = await self._payer(user)
        return await settle_charge(self._pool, self._lanes, account, _uuid(charge), quantity)

    async def release(self, user: str, charge: str) -> None:
        _organization, account = await self._payer(user)
        await release_charge(self._pool, self._lanes, account, _uuid(charge))

    async def _of(self, user: str) -> Constraints:
        organization, _account = await self._payer(user)
        return await self._constraints.find(organization)

    async def _payer(self, user: str) -> tuple[str, int]:
        """Raises NotFound."""
        found = self._payers.get(text(user, "user_id"))
        if found is None:
            async with reading(self._pool) as connection:
                found = await resolve_payer(connection, user)
            if len(self._payers) >= _PAYERS_MAX:
                self._payers.popitem(last=False)
            self._payers[user] = found
        return found


def _uuid(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise NotFound("There is nothing of this id.") from None
