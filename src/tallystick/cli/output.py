"""What every command shares: how it runs, the --json flag, and how rows look on a terminal."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar, cast

import asyncpg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tallystick.app import logs
from tallystick.app.books import open_books
from tallystick.base import strict_json
from tallystick.base.database import open_pool
from tallystick.ledger.audit import ORIGIN
from tallystick.payments.debts.debt import DISPUTE_POLICY, Policy
from tallystick.settings import Settings, load

Result = TypeVar("Result")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="Another settings file than tallystick.toml.", dir_okay=False)
]

console = Console(highlight=False, soft_wrap=True)


def read_settings(file: Path | None = None) -> Settings:
    """The settings of this command, with logs sent to standard error as they say."""
    settings = load(os.environ, file)
    logs.configure(settings.log_level, settings.log_format)
    return settings


def with_books(work: Callable[[asyncpg.Pool, Settings], Awaitable[Result]]) -> Result:
    """Open the database as the settings say, run `work` on a pool, close everything."""
    settings = load(os.environ)
    logs.configure("warning", "console")
    DISPUTE_POLICY.set(cast("Policy", settings.debt_policy))
    ORIGIN.set("cli")

    async def run() -> Result:
        async with open_books(settings) as dsn, await open_pool(dsn, size_max=4, application="tallystick-cli") as pool:
            return await work(pool, settings)

    return asyncio.run(run())


def now() -> datetime:
    """The one clock of the command line."""
    return datetime.now(UTC)


def show(value: object, as_json: bool, text: Callable[[], None]) -> None:
    """Print `value` as JSON, or call `text`, which prints it for people."""
    if as_json:
        print(strict_json.dumps(value).decode())
    else:
        text()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows under bold headings; numbers are right-aligned by giving a heading that starts with '>'.

    A cell is shown as it is, whatever a customer put into a name; one that is to have a colour is a Text.
    """
    drawn = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left")
    cells = [
        [cell if isinstance(cell, Text) else Text("" if cell is None else str(cell)) for cell in row] for row in rows
    ]
    for index, column in enumerate(columns):
        # An id stays whole, to be copied and found, and so does a moment: a table gets wider than its terminal rather
        # than divide one.
        whole = column.endswith("(UTC)")
        words = [word for row in cells for word in ([row[index].plain] if whole else row[index].plain.split())]
        drawn.add_column(
            column.lstrip(">"),
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
            min_width=max(map(len, words), default=0),
        )
    for row in cells:
        drawn.add_row(*row)
    console.print(drawn)


def fields(values: Mapping[str, object]) -> None:
    """Print one thing as aligned name and value lines."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        console.print(Text.assemble((name.ljust(width), "bold"), f"  {'-' if value is None else value}"))
