"""Record usage events, up to a thousand at once, each once: one that is wrong is told so in its place, the rest count.

What has happened is not refused. What a plan's cap does not admit is recorded and flagged, and costs what units beyond
the allowance cost. The counters are those that requests through the gateway claim.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, Literal, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base import strict_json
from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidInput, NotFound, TallystickError
from tallystick.base.ids import is_text_id, new_id
from tallystick.base.money import AMOUNT_MAX_NANO
from tallystick.catalog.plan import Meter
from tallystick.constraints.constraints import Constraints, MeterConstraint
from tallystick.metering.event import TEXT_CHARS_MAX, UsageEvent, check_meter, read_event
from tallystick.metering.lateness import DEFAULT, Counted, Lateness, counted

BATCH_MAX: Final = 1_000
# One transaction holds lanes for so many at most: requests through the gateway wait for it.
_STEP: Final = 250

ConstraintsOf = Callable[[str], Awaitable[Constraints]]

Result = TypeVar("Result")

queries = load_queries(__file__, "record.sql")


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event; of one that was there before, what became of it then."""

    id: str
    outcome: Literal["recorded", "repeated"]
    at: datetime
    starts_at: datetime
    ends_at: datetime
    late: bool
    increase: int
    """By how much it raised the meter's total of its period."""
    over_cap: bool
    charge: int
    """Nanocredits, for units beyond the allowance."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was not recorded, and why; no id where what came as one cannot be said back."""

    id: str | None
    error: TallystickError


class EventConflict(Conflict):
    """This organization has another event of this id."""

    code = "usage_event_conflict"


class _Payer(msgspec.Struct, frozen=True):
    organization: str
    account: int


class _Checked(msgspec.Struct, frozen=True, kw_only=True):
    """An event about which everything is known that the database must be told."""

    event: UsageEvent
    payer: _Payer
    meter: Meter
    counted: Counted
    constraint: MeterConstraint | None


class _World(msgspec.Struct, frozen=True, kw_only=True):
    """What events refer to, read once for all of them."""

    now: datetime
    meters: Mapping[str, Meter]
    payers: Mapping[str, _Payer]
    owners: Mapping[str, str]
    """The organization of each key."""
    constraints: Mapping[str, Constraints]
    lateness: Lateness


async def record_events(
    pool: asyncpg.Pool,
    given: Sequence[object],
    *,
    meters: Callable[[datetime], Mapping[str, Meter]],
    constraints_of: ConstraintsOf,
    lateness: Lateness = DEFAULT,
) -> Sequence[Recorded | Refused]:
    """One answer for each event, in their order. Raises InvalidInput where there are none, or too many."""
    if not 0 < len(given) <= BATCH_MAX:
        raise InvalidInput("events", f"must have 1 to {BATCH_MAX} items")
    read = [_or_error(partial(read_event, item)) for item in given]
    world = await _world(
        pool, [event for event in read if isinstance(event, UsageEvent)], meters, constraints_of, lateness
    )
    checked = [_or_error(partial(_check, one, world)) if isinstance(one, UsageEvent) else one for one in read]
    async with pool.acquire() as connection:
        answers = await _write(connection, [one for one in checked if isinstance(one, _Checked)])
    written = iter(answers)
    return [
        Refused(id=_echo(item), error=one) if isinstance(one, TallystickError) else next(written)
        for item, one in zip(given, checked, strict=True)
    ]


async def _world(
    pool: asyncpg.Pool,
    events: Sequence[UsageEvent],
    meters: Callable[[datetime], Mapping[str, Meter]],
    constraints_of: ConstraintsOf,
    lateness: Lateness,
) -> _World:
    named = sorted({event.payer for event in events if is_text_id(event.payer)})
    keys = sorted({event.key for event in events if event.key is not None})
    async with pool.acquire() as connection:
        now = await queries.clock(connection)
        rows = [row async for row in queries.payers(connection, named=named)]
        owners = {row["id"]: row["organization"] async for row in queries.owners_of_keys(connection, keys=keys)}
    payers = {row["named"]: _Payer(row["organization"], row["account"]) for row in rows}
    organizations = sorted({payer.organization for payer in payers.values()})
    # Asked for without a connection in hand: whoever answers may need one of the same pool.
    documents = await asyncio.gather(*(constraints_of(one) for one in organizations))
    return _World(
        now=now,
        meters=meters(now),
        payers=payers,
        owners=owners,
        constraints=dict(zip(organizations, documents, strict=True)),
        lateness=lateness,
    )


def _check(event: UsageEvent, world: _World) -> _Checked:
    payer = world.payers.get(event.payer)
    if payer is None:
        raise NotFound("There is no such user or organization.")
    if event.key is not None and world.owners.get(event.key) != payer.organization:
        raise NotFound("There is no such key of this organization.")
    meter = check_meter(event, world.meters.get(event.meter))
    document = world.constraints[payer.organization]
    constraint = next((one for one in document.meters if one.meter == meter.name), None)
    # Money has an end, and so have the numbers that stand for it: nobody used so much.
    if constraint is not None and constraint.price * (event.quantity or 1) // constraint.per >= AMOUNT_MAX_NANO:
        raise InvalidInput("quantity", "costs more than can be charged at once")
    return _Checked(
        event=event,
        payer=payer,
        meter=meter,
        counted=counted(document.period, event.at, world.now, world.lateness),
        constraint=constraint,
    )


async def _write(connection: asyncpg.Connection, checked: Sequence[_Checked]) -> Sequence[Recorded | Refused]:
    answers: list[Recorded | Refused] = []
    for start in range(0, len(checked), _STEP):
        step = checked[start : start + _STEP]
        # In the order of time, as the register of holds wants them.
        holds = {one.payer.account: new_id() for one in step}
        entries = [_entry(one, holds[one.payer.account]) for one in step]
        rows = [row async for row in queries.record(connection, events=entries)]
        answers += [_answer(one.event, row) for one, row in zip(step, rows, strict=True)]
    return answers


def _entry(one: _Checked, hold: UUID) -> tuple[object, ...]:
    """The columns of usage_event_entry, in their order."""
    event, place, limit = one.event, one.counted, one.constraint
    adds = one.meter.aggregation in {"sum", "max"}
    return (
        *(one.payer.account, event.id, event.digest(), place.at, event.at),
        *(place.period.starts_at, place.period.ends_at, place.late),
        *(one.meter.name, one.meter.aggregation, event.quantity if adds else None, event.counted_value(one.meter)),
        *(event.key, event.model, event.session),
        None if event.properties is None else strict_json.dumps(event.properties).decode(),
        *((None,) * 5 if limit is None else (hold, limit.allowance, limit.cap, limit.price, limit.per)),
    )


def _answer(event: UsageEvent, row: asyncpg.Record) -> Recorded | Refused:
    told = dict(row)
    del told["place"]
    if told["outcome"] == "conflict":
        return Refused(id=event.id, error=EventConflict("This id was used before, for an event with other content."))
    return Recorded(id=event.id, **told)


def _or_error(make: Callable[[], Result]) -> Result | TallystickError:
    try:
        return make()
    except TallystickError as error:
        return error


def _echo(given: object) -> str | None:
    """The id that was given, where it can be said back: not half a surrogate pair, and not a megabyte."""
    value = given.get("id") if isinstance(given, Mapping) else None
    return value if isinstance(value, str) and len(value) <= TEXT_CHARS_MAX and value.isprintable() else None
