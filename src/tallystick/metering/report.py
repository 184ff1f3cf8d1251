"""What an organization used: through the gateway and as events, by meter, and by day, key or model.

Units are counted as they are billed: of a meter of maxima or of unique values, by how much each event raised the total
of its period. So the parts of a report add up to its whole, whatever it is divided by.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, Literal, get_args

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import InvalidInput
from tallystick.catalog.plan import DOLLARS
from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import Period
from tallystick.metering.event import is_text
from tallystick.metering.span import span

GroupBy = Literal["meter", "day", "key", "model"]
GROUPINGS: Final = get_args(GroupBy)

_GATEWAY_METERS: Final = ("requests", "input_tokens", "output_tokens", "llm_inferences")

# Read in about a second, from either table. A customer of more asks for shorter ranges.
ROWS_MAX: Final = 1_000_000
LINES_MAX: Final = 10_000

queries = load_queries(__file__, "report.sql")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What was used of one meter, in one group."""

    group: str | None
    """The day, key or model; None for what has none, and where the report is divided by meter alone."""
    meter: str
    units: int
    charge: int
    """Nanocredits: by the price book for `dollars`, for units beyond the allowance for the others."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was used in a span of time; every meter that was used is there."""

    span: Period
    group_by: GroupBy
    lines: Sequence[Line]

    @property
    def charge(self) -> int:
        """Nanocredits charged in all."""
        return sum(line.charge for line in self.lines)


class RangeTooLarge(InvalidInput):
    """There is more usage in this range than one report reads; ask for a shorter one."""

    code = "range_too_large"


async def usage_report(
    connection: asyncpg.Connection,
    account: int,
    rule: PeriodRule,
    *,
    from_: str | None = None,
    to: str | None = None,
    group_by: str = "meter",
    meter: str | None = None,
    rows_max: int = ROWS_MAX,
) -> Report:
    """The report of a range, by default of the current period; of one meter where `meter` names it.

    Raises InvalidInput, and RangeTooLarge rather than tell a part of a sum."""
    if group_by not in GROUPINGS:
        raise InvalidInput("group_by", f"must be one of {', '.join(GROUPINGS)}")
    if meter is not None and not is_text(meter):
        raise InvalidInput("meter", "must be the name of a meter")
    # All of it as of one moment.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        asked = span(rule, await queries.clock(connection), from_, to)
        of = {"account": account, "from_at": asked.starts_at, "to_at": asked.ends_at, "group_by": group_by}
        events = [row async for row in queries.event_usage(connection, **of, meter=meter, rows_max=rows_max)]
        records = [row async for row in queries.gateway_usage(connection, **of, rows_max=rows_max)]
        if max(sum(row["rows"] for row in events), sum(row["rows"] for row in records)) > rows_max:
            raise RangeTooLarge(
                "from", f"must be nearer to to: there is more usage than the {rows_max} rows of a report"
            )
        claims: list[asyncpg.Record] = []
        if any(row["claiming"] for row in records):
            claims = [row async for row in queries.gateway_claims(connection, **of)]
    lines = _lines(events, records, claims, meter)
    if len(lines) > LINES_MAX:
        raise RangeTooLarge("from", f"must be nearer to to: the report would have more than {LINES_MAX} lines")
    return Report(span=asked, group_by=group_by, lines=lines)  # type: ignore[arg-type]  # checked above


def _lines(
    events: Sequence[asyncpg.Record],
    records: Sequence[asyncpg.Record],
    claims: Sequence[asyncpg.Record],
    meter: str | None,
) -> Sequence[Line]:
    found: defaultdict[tuple[str | None, str], list[int]] = defaultdict(lambda: [0, 0])

    def add(group: str | None, name: str, units: int, charge: int) -> None:
        sums = found[group, name]
        sums[0] += units
        sums[1] += charge

    for row in records:
        for name in (*_GATEWAY_METERS, DOLLARS):
            add(row["group"], name, int(row[name]), int(row[name]) if name == DOLLARS else 0)
    for row in (*claims, *events):
        add(row["group"], row["meter"], int(row["units"]), int(row["charge"]))
    ordered = sorted(found.items(), key=lambda item: (item[0][0] or "", item[0][1]))
    return [
        Line(group=group, meter=name, units=units, charge=charge)
        for (group, name), (units, charge) in ordered
        if (units or charge) and meter in {None, name}
    ]
