"""`reconcile`: is what Stripe says what the books say, and if not, why."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import asyncpg
import msgspec
import typer

from tallystick.base.errors import Misconfigured
from tallystick.base.money import format_amount, from_minor
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, show, table, with_books
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.inbox.set_aside import StoredEvent, set_aside
from tallystick.payments.inbox.set_aside import dismiss as dismiss_event
from tallystick.payments.inbox.set_aside import retry as retry_event
from tallystick.payments.reconcile import foreign
from tallystick.payments.reconcile.difference import Difference, Waiting
from tallystick.payments.reconcile.reconcile import Reconciliation, reconcile, reconcile_newest
from tallystick.payments.stripe.client import StripeClient
from tallystick.settings import Settings

EventId = Annotated[str, typer.Argument(metavar="EVENT", help="Stripe's event, evt_...")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Compare the books with what others say.", no_args_is_help=True)
    group.command("stripe")(stripe)
    group.command("set-apart")(set_apart)
    group.command("events")(events)
    group.command("retry")(retry)
    group.command("dismiss")(dismiss)
    app.add_typer(group, name="reconcile")


def stripe(
    since: Annotated[
        datetime | None,
        typer.Option(help="Only what was made since then (UTC); without it since the last clean run."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that Stripe has, however old.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare every payment, refund, dispute, invoice and movement at Stripe with the books.

    Lost events are fetched, what can be mended is mended, what cannot is listed with its cause. May run at any time.
    What is only under way waits, and is no difference. Exits 1 when differences are left.
    """

    async def work(pool: asyncpg.Pool, settings: Settings) -> Reconciliation:
        client, inbox = _connected(pool, settings)
        try:
            if since is None and not everything:
                return await reconcile_newest(pool, client, inbox, progress=_progress(as_json))
            began = None if since is None or everything else since.replace(tzinfo=since.tzinfo or UTC)
            return await reconcile(pool, client, inbox, since=began, progress=_progress(as_json))
        finally:
            await client.close()

    result = with_books(work)
    show(msgspec.to_builtins(result), as_json, lambda: _print(result))
    if result.differences:
        raise typer.Exit(1)


def set_apart(
    payment: Annotated[str, typer.Argument(help="A payment at Stripe, such as pi_...")],
    reason: Annotated[str, typer.Option(help="What it was for; kept in the audit log.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that a payment is none of our orders: its money stands apart, and is a difference no more."""
    with_books(lambda pool, _settings: foreign.set_apart(pool, payment, reason=reason, by=operator(by)))
    told = f"{payment} stands apart from the next run on."
    show({"payment": payment, "set_apart": True}, as_json, lambda: console.print(told, markup=False))


def events(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50, as_json: AsJson = False
) -> None:
    """List Stripe's events that wait for a person, with what did not fit, and those that fail again and again."""
    found = with_books(lambda pool, _settings: set_aside(pool, limit=limit))
    show(
        found,
        as_json,
        lambda: table(
            ["Event", "Type", "State", ">Attempts", "Why"],
            [(one.id, one.type, one.state, one.attempts, one.reason) for one in found],
        ),
    )


def retry(event: EventId, by: By = None, as_json: AsJson = False) -> None:
    """Act on an event once more, when what did not fit was mended. What it did before is not done twice."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, settings: Settings) -> StoredEvent:
        client, inbox = _connected(pool, settings)
        try:
            return await retry_event(pool, inbox, event, by=who)
        finally:
            await client.close()

    found = with_books(work)
    told = f"{found.id} is {found.state}" + (f": {found.reason}." if found.reason else ".")
    show(found, as_json, lambda: console.print(told, markup=False))


def dismiss(
    event: EventId,
    reason: Annotated[str, typer.Option(help="What was done about it instead; kept in the audit log.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that an event was seen to, and is a difference no more. Nothing is done for it."""
    with_books(lambda pool, _settings: dismiss_event(pool, event, reason=reason, by=operator(by)))
    show({"id": event, "dismissed": True}, as_json, lambda: console.print(f"{event} is dismissed.", markup=False))


def _connected(pool: asyncpg.Pool, settings: Settings) -> tuple[StripeClient, Inbox]:
    if not settings.stripe_api_key:
        raise Misconfigured("There is nothing to compare with: set STRIPE_API_KEY.")
    client = StripeClient(settings.stripe_api_key, api_base=settings.stripe_api_base)
    secrets = settings.listed("stripe_webhook_secret")
    return client, Inbox(pool, secrets=secrets, livemode=client.livemode, stripe=client)


def _progress(as_json: bool) -> Callable[[str], None]:
    return (lambda _step: None) if as_json else (lambda step: console.print(f"[dim]{step} ...[/dim]"))


def _print(result: Reconciliation) -> None:
    console.print(
        f"{result.events_fetched} events were fetched, {result.movements} movements are new, "
        f"{len(result.mended)} payments or customers were brought up to date."
    )
    console.print(f"Stripe holds {format_amount(from_minor(result.held_minor))}.")
    if result.waiting:
        console.print(f"\n{len(result.waiting)} are under way; nothing is to be done about them yet:")
        columns = ["What", ">At Stripe", ">In the books", "Since (UTC)", "Waits for"]
        table(columns, [_waiting_row(one) for one in result.waiting])
    if not result.differences:
        console.print("\n[green]Stripe and the books agree.[/green]")
        return
    console.print(f"\n[red]{len(result.differences)} differences are left:[/red]")
    table(["What", ">At Stripe", ">In the books", "Why"], [_row(one) for one in result.differences])


def _row(one: Difference) -> tuple[str | None, ...]:
    return (one.subject, *_amounts(one), one.cause)


def _waiting_row(one: Waiting) -> tuple[str | None, ...]:
    return (one.subject, *_amounts(one), f"{one.since:%Y-%m-%d %H:%M}", one.waits_for)


def _amounts(one: Difference | Waiting) -> list[str | None]:
    return [
        None if minor is None else format_amount(from_minor(minor)) for minor in (one.at_stripe_minor, one.booked_minor)
    ]
