"""`credits`: grant, balance, history, and what one request came to."""

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
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, fields, show, table, with_books
from tallystick.ledger import read
from tallystick.ledger.account import Balance
from tallystick.ledger.trace import TracedTransfer, transfers_of
from tallystick.payments.orders.grant import grant as post_grant
from tallystick.reservations.recorded import recorded
from tallystick.reservations.usage_record import UsageRecord
from tallystick.settings import Settings


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Credits: what organizations can spend.", no_args_is_help=True)
    group.command("grant")(grant)
    group.command("balance")(balance)
    group.command("history")(history)
    group.command("transfers")(transfers)
    group.command("request")(request)
    app.add_typer(group, name="credits")


def grant(
    org: Org,
    amount: Annotated[str, typer.Argument(help="Credits to give, such as 5 or 0.25.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the grant.")] = "granted by the operator",
    expires_at: Annotated[datetime | None, typer.Option(help="When unspent ones expire (UTC).")] = None,
    request_id: Annotated[str | None, typer.Option(help="Your own id: the same one never grants twice.")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Give promotional credits to an organization."""
    nano, who = parse_amount(amount), operator(by)

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
            by=who,
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


def request(
    request_id: Annotated[str, typer.Argument(help="The x-request-id of an answer.")], as_json: AsJson = False
) -> None:
    """Show what one request used, what it cost us, what the customer was charged, and the transfers it made."""
    wanted = _operation(request_id)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> tuple[datetime, UsageRecord, list[TracedTransfer]]:
        async with pool.acquire() as connection:
            at, record = await recorded(connection, wanted)
            return at, record, [*await transfers_of(connection, wanted)]

    at, record, made = with_books(work)
    amounts = {"cost": record.cost, "charge": record.charge, "margin": record.charge - record.cost}
    tokens = {
        name: getattr(record, name)
        for name in UsageRecord.__struct_fields__
        if name.endswith("_tokens") or name == "images"
    }
    told = {"request": record.id, "ended_at": at, "model": f"{record.provider}/{record.model}", "alias": record.alias}
    told |= {"outcome": record.outcome, "rule": record.rule, "usage_source": record.usage_source}

    def text() -> None:
        used = {name: count for name, count in tokens.items() if count}
        fields({**told, **used, **{name: format_amount(nano) for name, nano in amounts.items()}})
        console.print()
        _print_transfers(made)

    exact = {name: to_decimal(nano) for name, nano in amounts.items()}
    show({**told, "usage": tokens, **exact, "transfers": [_as_dict(t) for t in made]}, as_json, text)


def transfers(
    operation: Annotated[str, typer.Argument(help="A request id, or the id of another operation.")],
    as_json: AsJson = False,
) -> None:
    """List the transfers that one request, purchase or grant made."""
    wanted = _operation(operation)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[TracedTransfer]:
        async with pool.acquire() as connection:
            return [*await transfers_of(connection, wanted)]

    found = with_books(work)
    show([_as_dict(t) for t in found], as_json, lambda: _print_transfers(found))


def _operation(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput("operation", "must be the UUID of a request or another operation") from None


def _as_dict(t: TracedTransfer) -> dict[str, object]:
    moved = {"seq": t.seq, "at": t.at, "kind": t.kind, "debit": t.debit, "credit": t.credit}
    return {**moved, "amount": to_decimal(t.amount)}


def _print_transfers(found: list[TracedTransfer]) -> None:
    table(
        [">Transfer", "Kind", "Debit", "Credit", ">Credits"],
        [(t.seq, t.kind, t.debit, t.credit, format_amount(t.amount)) for t in found],
    )
