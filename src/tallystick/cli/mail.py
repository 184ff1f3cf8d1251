"""`mail`: what was written to people, and what became of it."""

from datetime import datetime
from typing import Annotated

import asyncpg
import typer

from tallystick.cli.output import AsJson, console, fields, show, table, with_books
from tallystick.notices import mail
from tallystick.notices.mail import Mail, State
from tallystick.settings import Settings

Seq = Annotated[int, typer.Argument(help="The mail's number, as `mail list` shows it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Mails to people: invitations, low balances, failed payments.", no_args_is_help=True)
    group.command("list")(list_mails)
    group.command("show")(show_mail)
    group.command("retry")(retry)
    app.add_typer(group, name="mail")


def list_mails(
    state: Annotated[State | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List mails, the newest first. Without SMTP_URL they all wait."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[Mail]:
        async with pool.acquire() as connection:
            return [*await mail.newest(connection, state=state, limit=limit)]

    found = with_books(work)
    show(
        found,
        as_json,
        lambda: table(
            [">Mail", "When (UTC)", "To", "Subject", "State", ">Attempts", "Problem"],
            [(m.seq, _moment(m.at), m.recipient, m.subject, m.state, m.attempts, m.problem) for m in found],
        ),
    )


def show_mail(seq: Seq, as_json: AsJson = False) -> None:
    """Show a mail with its text."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Mail:
        async with pool.acquire() as connection:
            return await mail.find(connection, seq)

    found = with_books(work)

    def text() -> None:
        fields(
            {"to": found.recipient, "state": found.state, "attempts": found.attempts, "problem": found.problem or "-"}
        )
        console.print(f"\n{found.subject}\n\n{found.body}", markup=False)

    show(found, as_json, text)


def retry(seq: Seq, as_json: AsJson = False) -> None:
    """Send a mail that failed, or waits, at the next chance."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Mail:
        async with pool.acquire() as connection:
            return await mail.retry(connection, seq)

    found = with_books(work)
    show(found, as_json, lambda: console.print(f"Mail {found.seq} to {found.recipient} is due.", markup=False))


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
