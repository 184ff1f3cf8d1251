"""`alerts`: at which balances an organization is told that its credits run low; `top-up`: what its card is charged."""

from typing import Annotated

import asyncpg
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.base.money import format_amount, from_minor, parse_amount, to_decimal
from tallystick.cli.accounts import Org
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, fields, show, with_books
from tallystick.payments.orders import balance_alert, top_up
from tallystick.settings import Settings


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Alerts: at which balances organizations are told.", no_args_is_help=True)
    group.command("show")(show_alerts)
    group.command("set")(set_alerts)
    app.add_typer(group, name="alerts")
    top_ups = typer.Typer(help="Top-ups: what cards are charged when credits run low.", no_args_is_help=True)
    top_ups.command("show")(show_top_up)
    top_ups.command("remove")(remove_top_up)
    app.add_typer(top_ups, name="top-up")


def show_alerts(org: Org, as_json: AsJson = False) -> None:
    """Show at which balances an organization is told."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[int]:
        async with pool.acquire() as connection:
            organization, _account = await resolve_payer(connection, org)
            return await balance_alert.thresholds(connection, organization)

    _show_alerts(with_books(work), as_json)


def set_alerts(
    org: Org,
    thresholds: Annotated[
        list[str] | None, typer.Argument(help="Balances in credits, such as 20 5; none at all ends the alerts.")
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Have an organization told, by webhook and mail, once each time its balance falls below one of these."""
    wanted, who = [parse_amount(one, "thresholds") for one in thresholds or ()], operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[int]:
        async with pool.acquire() as connection:
            organization, account = await resolve_payer(connection, org)
        return await balance_alert.set_thresholds(pool, organization, account, wanted, by=who)

    _show_alerts(with_books(work), as_json)


def show_top_up(org: Org, as_json: AsJson = False) -> None:
    """Show what an organization agreed to, and whether it stands still."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> tuple[top_up.TopUp | None, int]:
        async with pool.acquire() as connection:
            organization, _account = await resolve_payer(connection, org)
            found = await top_up.find_top_up(connection, organization)
            return found, await top_up.charged_this_month(connection, organization)

    found, charged = with_books(work)
    described = found and {**top_up.shown(found), "charged_this_month": to_decimal(from_minor(charged))}
    show(
        {"top_up": described}, as_json, lambda: fields(described) if described else console.print("Nothing is charged.")
    )


def remove_top_up(org: Org, by: By = None, as_json: AsJson = False) -> None:
    """Let nothing be charged by itself any more."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> bool:
        async with pool.acquire() as connection:
            organization, _account = await resolve_payer(connection, org)
        return await top_up.remove_top_up(pool, organization, by=who)

    removed = with_books(work)
    show(
        {"removed": removed},
        as_json,
        lambda: console.print("Nothing more is charged." if removed else "Nothing was charged."),
    )


def _show_alerts(found: list[int], as_json: bool) -> None:
    said = ", ".join(format_amount(nano) for nano in found)
    show(
        {"thresholds": [to_decimal(nano) for nano in found]},
        as_json,
        lambda: console.print(f"Told below {said} credits." if found else "Told at no balance."),
    )
