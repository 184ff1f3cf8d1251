"""`audit`: who did what about anybody's billing, when, from where, and what changed."""

import csv
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import asyncpg
import msgspec
import typer

from tallystick.base import strict_json
from tallystick.cli.for_organization import named
from tallystick.cli.output import AsJson, show, table, with_books
from tallystick.ledger.audit_log import AuditEvent, Filter, from_the_beginning, newest
from tallystick.ledger.verify import Block, newest_block
from tallystick.settings import Settings

Organization = Annotated[str | None, typer.Option(help="Only what concerns this organization, or this user's.")]
Act = Annotated[str | None, typer.Option(help="Only this act, or a pattern such as order.*")]
Subject = Annotated[str | None, typer.Option(help="Only what was done to this: an order's id, a key's id.")]
Since = Annotated[datetime | None, typer.Option(help="Only from then on (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Only before then (UTC).")]

_COLUMNS: Final = AuditEvent.__struct_fields__
# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The audit log: every act that has to do with billing.", no_args_is_help=True)
    group.command("list")(list_events)
    group.command("export")(export)
    app.add_typer(group, name="audit")


def list_events(
    organization: Organization = None,
    act: Act = None,
    subject: Subject = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    before: Annotated[int | None, typer.Option(help="Only those before this number.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what was done, the newest first."""
    wanted = _filter(organization, act, subject, since, until)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[AuditEvent]:
        async with pool.acquire() as connection:
            asked = await _of_one(connection, wanted)
            return [*await newest(connection, asked, before=before, limit=limit)]

    found = with_books(work)
    show(
        found,
        as_json,
        lambda: table(
            [">Seq", "When (UTC)", "Act", "To", "By", "From", ">Block"],
            [(e.seq, f"{e.at:%Y-%m-%d %H:%M:%S}", e.act, e.subject, e.by, e.origin, e.block) for e in found],
        ),
    )


def export(
    form: Annotated[
        Literal["jsonl", "csv"], typer.Option("--format", help="JSON, one event a line; or CSV.")
    ] = "jsonl",
    organization: Organization = None,
    act: Act = None,
    subject: Subject = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Write the log to standard output, the oldest first. Each event names the block of the hash chain that vouches for
    it: `tallystick verify --anchor` with that block's hash proves that nothing up to it was changed."""
    wanted = _filter(organization, act, subject, since, until)
    write = _write_json if form == "jsonl" or as_json else _csv_writer()

    async def work(pool: asyncpg.Pool, _settings: Settings) -> tuple[int, Block | None]:
        count = 0
        async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            async for event in from_the_beginning(connection, await _of_one(connection, wanted)):
                write(event)
                count += 1
            return count, await newest_block(connection)

    count, block = with_books(work)
    sealed = f"the newest block is {block.number}, {block.hash}" if block else "nothing is sealed yet"
    # Beside the log and not in it.
    print(f"{count} events; {sealed}", file=sys.stderr)


def inert(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _write_json(event: AuditEvent) -> None:
    print(strict_json.dumps(event).decode())


def _csv_writer() -> Callable[[AuditEvent], None]:
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(_COLUMNS)

    def write(event: AuditEvent) -> None:
        writer.writerow([_cell(getattr(event, name)) for name in _COLUMNS])

    return write


def _cell(value: object) -> str | int:
    if value is None or isinstance(value, int):
        return "" if value is None else value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return inert(value if isinstance(value, str) else strict_json.dumps(value).decode())


def _filter(
    organization: str | None, act: str | None, subject: str | None, since: datetime | None, until: datetime | None
) -> Filter:
    return Filter(organization=organization, act=act, subject=subject, since=_utc(since), until=_utc(until))


async def _of_one(connection: asyncpg.Connection, wanted: Filter) -> Filter:
    return msgspec.structs.replace(wanted, organization=await named(connection, wanted.organization))


def _utc(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=moment.tzinfo or UTC)
