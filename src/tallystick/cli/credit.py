"""`credits`: grant, balance, history, and the transfers of one request."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import asyncpg
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.base.errors import InvalidInput
from tallystick.base.ids import id_for_request, new_id
from tallystick.base.money import format_amount, parse_amount, to_decimal
from tallystick.cli.accounts import Org
from tallystick.cli.output import AsJson, console, fields, show, table, with_books
from tallystick.ledger import read
from tallystick.ledger.account import Balance
from tallystick.ledger.trace import TracedTransfer, transfers_of
from tallystick.payments.grant import grant as post_grant
from tallystick.settings import Settings


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Credits: what organizations can spend.", no_args_is_help=True)
    group.command("grant")(grant)
    group.command("balance")(balance)
    group.command("history")(history)
    group.command("transfers")(transfers)
    app.add_typer(group, name="credits")


def grant(
    org: Org,
    amount: Annotated[str, typer.Argument(help="Credits to give, such as 5 or 0.25.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the grant.")] = "granted by the operator",
    expires_at: Annotated[datetime | None, typer.Option(help="When unspent ones expire (UTC).")] = None,
    request_id: Annotated[str | None, typer.Option(help="Your own id: the same one never grants twice.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give promotional credits to an organization."""
    nano = parse_amount(amount)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Balance:
        async with pool.acquire() as connection:
            payer, account = await resolve_payer(connection, org)
        await post_grant(
            pool,
            account,
            nano,
            operation=id_for_request(f"grant {payer}", request_id) if request_id else new_id(),
            source=reason,
            expires_at=expires_at and expires_at.replace(tzinfo=expires_at.tzinfo or UTC),
        )
        async with pool.acquire() as connection:
            return await read.balance(connection, account)

    after = with_books(work)
    show(
        {"granted": to_decimal(nano), "balance": to_decimal(after.posted)},
        as_json,
        lambda: console.print(f"Granted {format_amount(nano)}; the balance is {format_amount(after.posted)} credits."),
    )


def balance(org: Org, as_json: AsJson = False) -> None:
    """Show what an organization has, what of it is held by running requests, and what it can spend."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Balance:
        async with pool.acquire() as connection:
            _payer, account = await resolve_payer(connection, org)
            return await read.balance(connection, account)

    found = with_books(work)
    amounts = {"balance": found.posted, "held": found.held, "available": found.available}
    show(
        {name: to_decimal(nano) for name, nano in amounts.items()},
        as_json,
        lambda: fields({name: format_amount(nano) for name, nano in amounts.items()}),
    )


def history(
    org: Org,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    before: Annotated[int | None, typer.Option(help="Only those before this sequence number.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what came into and went out of an organization's balance, the newest first."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[read.Entry]:
        async with pool.acquire() as connection:
            _payer, account = await resolve_payer(connection, org)
            return [*await read.history(connection, account, before=before, limit=limit)]

    found = with_books(work)
    show(
        [
            {"seq": e.seq, "at": e.at, "kind": e.kind, "amount": to_decimal(e.amount), "operation": e.operation}
            for e in found
        ],
        as_json,
        lambda: table(
            [">Seq", "When (UTC)", "Kind", ">Credits", "Operation"],
            [(e.seq, f"{e.at:%Y-%m-%d %H:%M:%S}", e.kind, format_amount(e.amount), e.operation) for e in found],
        ),
    )


def transfers(
    operation: Annotated[str, typer.Argument(help="A request id, or the id of another operation.")],
    as_json: AsJson = False,
) -> None:
    """List the transfers that one request, purchase or grant made."""
    try:
        wanted = UUID(operation.removeprefix("req_"))
    except ValueError:
        raise InvalidInput("operation", "must be the UUID of a request or another operation") from None

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[TracedTransfer]:
        async with pool.acquire() as connection:
            return [*await transfers_of(connection, wanted)]

    found = with_books(work)
    show(
        [
            {
                "seq": t.seq,
                "at": t.at,
                "kind": t.kind,
                "debit": t.debit,
                "credit": t.credit,
                "amount": to_decimal(t.amount),
            }
            for t in found
        ],
        as_json,
        lambda: table(
            [">Seq", "Kind", "Debit", "Credit", ">Credits"],
            [(t.seq, t.kind, t.debit, t.credit, format_amount(t.amount)) for t in found],
        ),
    )
