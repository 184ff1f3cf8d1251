"""`meters`: does Stripe have the usage that it bills, and if not, why."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Final

import asyncpg
import msgspec
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.base.errors import Misconfigured
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, Result, console, show, table, with_books
from tallystick.payments.meters.compare import PASSING, Comparison
from tallystick.payments.meters.mend import Mended
from tallystick.payments.meters.upkeep import compare_all
from tallystick.payments.stripe.client import StripeClient
from tallystick.settings import Settings

Organization = Annotated[
    str | None, typer.Option("--organization", help="Only this one, by its id or that of a user.", metavar="ORG")
]
Since = Annotated[
    datetime | None,
    typer.Option(help="Hours from then on (UTC), 34 days at most; by default all that can still change."),
]

_WORDS: Final = {
    "not_collected": "used, and not yet written down: the next run of the upkeep does",
    "waiting": "waiting to be sent",
    "refused": "refused",
    "not_shown_yet": "taken by Stripe, and not yet in its sums",
    "missing": "taken by Stripe, and missing from its sums",
    "not_ours": "at Stripe, and told by nobody here: correct it there, or on the invoice",
    "still_there": "taken back, and still in Stripe's sums",
    "told_too_much": "told too much: taken back within a day, later a credit on the invoice",
    "no_meter": "Stripe has no such meter: run tallystick stripe sync",
}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Usage that Stripe bills: compare what it has with what was used.", no_args_is_help=True)
    group.command("compare")(compare)
    group.command("mend")(mend)
    app.add_typer(group, name="meters")


def compare(organization: Organization = None, since: Since = None, as_json: AsJson = False) -> None:
    """Compare the usage of every hour with Stripe's sums; list every difference with its cause.

    Tells Stripe nothing, and may run at any time. Exits 1 where something differs that does not end by itself.
    """
    found, _done = _run(lambda pool, client, one: _compare(pool, client, one, since, as_json), organization)
    show(msgspec.to_builtins(found), as_json, lambda: _print(found))
    _exit(found)


def mend(organization: Organization = None, since: Since = None, by: By = None, as_json: AsJson = False) -> None:
    """Tell Stripe what it lacks, take back what was told too much, and compare again.

    The upkeep does the same every night. Exits 1 where a difference is left that does not end by itself.
    """
    who = operator(by)
    found, done = _run(lambda pool, client, one: _compare(pool, client, one, since, as_json, by=who), organization)
    told = {"mended": msgspec.to_builtins(done), **msgspec.to_builtins(found)}
    show(told, as_json, lambda: _print(found, done))
    _exit(found)


def _compare(
    pool: asyncpg.Pool,
    client: StripeClient,
    organization: str | None,
    since: datetime | None,
    as_json: bool,
    *,
    by: str | None = None,
) -> Awaitable[tuple[Comparison, Mended]]:
    return compare_all(
        pool,
        client,
        organization=organization,
        since=None if since is None else since.replace(tzinfo=since.tzinfo or UTC),
        mend_by=by,
        progress=(lambda _one: None) if as_json else (lambda one: console.print(f"[dim]{one} ...[/dim]")),
    )


def _run(
    work: Callable[[asyncpg.Pool, StripeClient, str | None], Awaitable[Result]], organization: str | None
) -> Result:
    async def run(pool: asyncpg.Pool, settings: Settings) -> Result:
        if not settings.stripe_api_key:
            raise Misconfigured("There is nothing to compare with: set STRIPE_API_KEY.")
        payer = None
        if organization is not None:
            async with pool.acquire() as connection:
                payer, _account = await resolve_payer(connection, organization)
        client = StripeClient(settings.stripe_api_key, api_base=settings.stripe_api_base)
        try:
            return await work(pool, client, payer)
        finally:
            await client.close()

    return with_books(run)


def _print(found: Comparison, done: Mended | None = None) -> None:
    _print_tables(found, done)
    if found.until is not None:
        until = f"what was used before {_time(found.until)} (UTC)"
        console.print(f"\nCompared: {until}. Stripe's sums lag some minutes behind.")


def _print_tables(found: Comparison, done: Mended | None) -> None:
    for organization in dict.fromkeys(one.organization for one in found.periods):
        table(
            ["Meter", "From", "To", ">Used", ">Billable", ">At Stripe"],
            [
                (one.meter, _time(one.starts_at), _time(one.ends_at), one.used, one.billable, one.stripe)
                for one in found.periods
                if one.organization == organization
            ],
            title=organization,
        )
    if done is not None:
        console.print(f"\n{done.collected} reports written, {done.sent} sent, {done.canceled} taken back.")
    if not found.differences:
        agreed = "Stripe has what was used." if found.periods else "Nothing was used that Stripe bills."
        console.print(f"\n[green]{agreed}[/green]" if found.periods or done else f"[green]{agreed}[/green]")
        return
    console.print(f"\n[red]{len(found.differences)} differences:[/red]")
    for organization in dict.fromkeys(one.organization for one in found.differences):
        table(
            ["Meter", "Hour", ">Units", "Why"],
            [
                (one.meter, _time(one.hour), one.units, ". ".join(filter(None, (_WORDS[one.cause], one.problem))))
                for one in found.differences
                if one.organization == organization
            ],
            title=organization,
        )


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _exit(found: Comparison) -> None:
    if any(one.cause not in PASSING for one in found.differences):
        raise typer.Exit(1)
