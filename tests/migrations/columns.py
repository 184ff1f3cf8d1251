"""A lane as earlier versions have it: it sends a batch as an array for each column."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from msgspec.structs import astuple

from tallystick.reservations import admit_step
from tallystick.reservations.batch import Batch
from tallystick.reservations.lane_connection import LaneConnection, connect

# As the first version says it.
POST_BATCH = (
    "select accounts, posted, held, available, exceptions"
    " from post_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
)
# As the versions from the second to the fourth say it.
POST_BATCH_PLAIN = POST_BATCH.replace("$18)", "$18, null, null)")
POST_BATCH_WITH_CLAIMS = (
    "select accounts, posted, held, available, exceptions, overages,"
    " codes, amounts, layers, availables, refused, retry_at, taken, now"
    f" from post_batch_with_claims({', '.join(f'${n}' for n in range(1, 36))})"
)
ALL_LANES = "select pg_advisory_xact_lock(31249, lane) from generate_series(0, 63) as lane"


def columns(entries: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """The first `width` fields of all entries, a list for each."""
    return [[entry[place] for entry in entries] for place in range(width)]


def arguments(batch: Batch) -> tuple[object, ...]:
    """What the first version's post_batch wants to know of a batch, beside the lane."""
    return (
        *(*columns(batch.end.entries, 3), [astuple(record) for record in batch.end.extras if record is not None]),
        *columns(batch.extend.entries, 4),
        *columns(batch.reserve.entries, 5),
        *columns(batch.deduct.entries, 3),
    )


def claims_arguments(batch: Batch) -> Iterator[object]:
    """What post_batch_with_claims wants to know beside that."""
    starts: list[int | None] = []
    units: list[int] = []
    for *_, used in batch.end.entries:
        starts.append(None if used is None else len(units) + 1 if used else 0)
        units.extend((len(used), *used) if used else ())
    yield from (starts, units, *columns(batch.admit.entries, 4))
    yield [dispatcher or UUID(int=0) for *_, dispatcher, _ in batch.admit.entries]
    yield [counted for *_, counted in batch.admit.entries]
    yield from columns(admit_step.claims(batch.admit.extras), 9)


class OldLaneConnection(LaneConnection):
    """What one lane of the first version says to the database. Nothing in its batches may have claims."""

    @classmethod
    async def open(cls, dsn: str, number: int | None, lanes: int, timeout_s: float) -> "OldLaneConnection":
        connection = await connect(dsn, f"tallystick lane {number}", timeout_s)
        return cls(connection, await connection.prepare(POST_BATCH), number, lanes)

    async def post(self, batch: Batch, timeout_s: float) -> Any:
        async with self._connection.transaction():
            # Earlier versions had a writer for each lane alone; whoever writes for all takes all their locks.
            await self._connection.execute(ALL_LANES)
            return await self.say(batch, timeout_s)

    async def say(self, batch: Batch, timeout_s: float) -> Any:
        assert not batch.claims
        row = await self._post.fetchrow(self._number or 0, self._lanes, *arguments(batch), timeout=timeout_s)
        return (*row, None)


class FourthLaneConnection(OldLaneConnection):
    """What one lane of the versions from the second to the fourth says."""

    async def say(self, batch: Batch, timeout_s: float) -> Any:
        lane = (self._number or 0, self._lanes)
        if not batch.claims:
            row = await self._connection.fetchrow(POST_BATCH_PLAIN, *lane, *arguments(batch), timeout=timeout_s)
            return (*row, None)
        return await self._connection.fetchrow(
            POST_BATCH_WITH_CLAIMS, *lane, *arguments(batch), *claims_arguments(batch), timeout=timeout_s
        )
