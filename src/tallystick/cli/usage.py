"""`usage`: what an organization used, through the gateway and as events."""

from typing import Annotated

import asyncpg
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.base.changes import Changes
from tallystick.base.money import format_amount
from tallystick.cli.accounts import Org
from tallystick.cli.output import AsJson, console, show, table, with_books
from tallystick.metering.report import Report, usage_report
from tallystick.metering.shown import as_json as report_as_json
from tallystick.settings import Settings
from tallystick.subscriptions.live import LiveConstraints


def register(app: typer.Typer) -> None:
    app.command("usage")(usage)


def usage(
    org: Org,
    from_: Annotated[
        str | None, typer.Option("--from", help="A day or a time (UTC); by default the current billing period.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Up to before this day or time.")] = None,
    by: Annotated[str, typer.Option(help="Divided by meter, day, key or model.")] = "meter",
    meter: Annotated[str | None, typer.Option(help="Of this meter alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what an organization used and what that was charged."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> tuple[str, Report]:
        async with pool.acquire() as connection:
            payer, account = await resolve_payer(connection, org)
        # Never started, so that nothing is taken from memory.
        constraints = await LiveConstraints(pool, Changes("")).find(payer)
        async with pool.acquire() as connection:
            report = await usage_report(
                connection, account, constraints.period, from_=from_, to=to, group_by=by, meter=meter
            )
        return payer, report

    payer, report = with_books(work)
    show({"organization": payer, **report_as_json(report)}, as_json, lambda: _print(report))


def _print(report: Report) -> None:
    divided = report.group_by != "meter"
    span = report.span
    table(
        [*([report.group_by.capitalize()] if divided else []), "Meter", ">Units", ">Credits"],
        [
            (*((line.group,) if divided else ()), line.meter, line.units, format_amount(line.charge))
            for line in report.lines
        ],
        title=f"{span.starts_at:%Y-%m-%d %H:%M} to {span.ends_at:%Y-%m-%d %H:%M} UTC",
    )
    console.print(f"{format_amount(report.charge)} credits charged in all.")
