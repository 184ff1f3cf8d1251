"""`serve`, `migrate`, `settings`: the processes, the schema and what can be set."""

import asyncio
from typing import Annotated

import asyncpg
import msgspec
import typer

from tallystick.app.supervisor import serve as run_server
from tallystick.cli.output import AsJson, SettingsFile, console, read_settings, show, table, with_books
from tallystick.settings import SECRETS, Settings, sentences, variable


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(migrate)
    app.command("settings")(list_settings)


def serve(
    workers: Annotated[int | None, typer.Option(help="Processes that answer requests.", min=1, max=256)] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=1, max=65535)] = None,
    file: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Run the server: gateway, API and upkeep, until it is told to stop (SIGTERM or Ctrl-C)."""
    chosen = {"workers": workers, "host": host, "port": port}
    settings = msgspec.structs.replace(
        read_settings(file), **{name: value for name, value in chosen.items() if value is not None}
    )

    def announce(address: str) -> None:
        serving = {"address": address, "openai_base_url": f"{address}/v1", "workers": settings.workers}
        show(serving, as_json, lambda: console.print(f"Tallystick serves on {address} (Ctrl-C stops it)."))

    asyncio.run(run_server(settings, announce=announce))


def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this version's schema. A running server need not stop."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> str:
        return str(await pool.fetchval("select version_num from alembic_version"))

    revision = with_books(work)
    show({"revision": revision}, as_json, lambda: console.print(f"The database has revision {revision}."))


def list_settings(file: SettingsFile = None, as_json: AsJson = False) -> None:
    """List every setting: its variable, its value here, and one sentence on what it does."""
    settings = read_settings(file)
    rows = [
        {"name": name, "variable": variable(name), "value": _shown(settings, name), "description": sentence}
        for name, sentence in sentences().items()
    ]
    show(
        rows,
        as_json,
        lambda: table(
            ["Variable", "Value", "What it does"], [(row["variable"], row["value"], row["description"]) for row in rows]
        ),
    )


def _shown(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    if value is None:
        return None
    return "(set)" if name in SECRETS else str(value)
