"""`stripe`: plans, prices and meters at Stripe as the catalog has them, and what is linked with what."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, TypeVar

import asyncpg
import msgspec
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.base.errors import Misconfigured
from tallystick.cli.accounts import Org
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, fields, show, table, with_books
from tallystick.payments.billing.checkout import ready_customer
from tallystick.payments.billing.follow import bring_up_to_date
from tallystick.payments.billing.linked import Linked, linked
from tallystick.payments.billing.sync import Change, sync
from tallystick.payments.ending import Ending
from tallystick.payments.stripe.client import StripeClient
from tallystick.settings import Settings

Result = TypeVar("Result")

_SIGNS: Final = {"make": "+", "found": "=", "rename": "~", "archive": "-", "problem": "!"}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Plans and subscriptions at Stripe.", no_args_is_help=True)
    group.command("sync")(sync_all)
    group.command("status")(status)
    group.command("refresh")(refresh)
    app.add_typer(group, name="stripe")


def sync_all(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, do nothing.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Make at Stripe what the catalog sells there: meters, products and prices.

    May be run again, and stopped, at any time. Prices of versions that are sold no more are archived; who has one keeps
    it. A price that the catalog names by `stripe_price` is taken as it is. Exits 1 when there is a problem.
    """

    def told(change: Change) -> None:
        if not as_json:
            console.print(_line(change, dry_run=dry_run), markup=False)

    changes = _with_stripe(lambda pool, stripe: sync(pool, stripe, by=operator(by), dry_run=dry_run, progress=told))
    show(msgspec.to_builtins(changes), as_json, lambda: console.print(_summary(changes, dry_run=dry_run)))
    if any(change.what == "problem" for change in changes):
        raise typer.Exit(1)


def status(as_json: AsJson = False) -> None:
    """Show which prices, meters and customers are linked, and the subscriptions at Stripe that are set aside."""
    found = _with_stripe(lambda pool, stripe: linked(pool, livemode=stripe.livemode))
    show(msgspec.to_builtins(found), as_json, lambda: _print(found))


def refresh(org: Org, as_json: AsJson = False) -> None:
    """Look at an organization's subscriptions at Stripe again, and bring ours to what they are there.

    Webhooks do this by themselves. It helps where a price was unknown before: write it into the catalog, or run
    `stripe sync`, then this. Exits 1 when something is set aside.
    """

    async def work(pool: asyncpg.Pool, stripe: StripeClient) -> Ending:
        async with pool.acquire() as connection:
            payer, _account = await resolve_payer(connection, org)
            customer = await ready_customer(connection, payer, livemode=stripe.livemode)
        return await bring_up_to_date(pool, stripe, customer)

    state, reason = _with_stripe(work)
    sentence = "The subscription is as it is at Stripe." if reason is None else f"Set aside: {reason}."
    show({"state": state, "reason": reason}, as_json, lambda: console.print(sentence, markup=False))
    if reason is not None:
        raise typer.Exit(1)


def _with_stripe(work: Callable[[asyncpg.Pool, StripeClient], Awaitable[Result]]) -> Result:
    async def run(pool: asyncpg.Pool, settings: Settings) -> Result:
        if not settings.stripe_api_key:
            raise Misconfigured("There is no Stripe to speak to: set STRIPE_API_KEY.")
        stripe = StripeClient(settings.stripe_api_key, api_base=settings.stripe_api_base)
        try:
            return await work(pool, stripe)
        finally:
            await stripe.close()

    return with_books(run)


def _line(change: Change, *, dry_run: bool) -> str:
    named = f" {change.id}" if change.id and not (dry_run and change.what == "make") else ""
    return f"{_SIGNS[change.what]} {change.kind} {change.name}{named}{': ' if change.detail else ''}{change.detail}"


def _summary(changes: Sequence[Change], *, dry_run: bool) -> str:
    problems = sum(change.what == "problem" for change in changes)
    if not changes:
        return "Stripe has all that the catalog sells."
    done = f"{len(changes) - problems} changes{'; nothing was done' if dry_run else ''}."
    return done if not problems else f"{done} {problems} problems, marked with !."


def _print(found: Linked) -> None:
    fields(
        {
            "mode": "live" if found.livemode else "test",
            "customers": f"{found.customers}, and {found.organizations_without} organizations without one",
        }
    )
    table(
        ["Plan", ">Version", "Meter", "Price at Stripe", "Sold", ">Subscriptions"],
        [(p.plan, p.plan_version, p.meter, p.id, "yes" if p.active else "no", p.subscriptions) for p in found.prices],
    )
    if found.meters:
        table(["Meter", "Meter at Stripe", "Name of its events"], [(m.meter, m.id, m.event_name) for m in found.meters])
    for one in found.apart:
        console.print(f"! {one.organization} {one.status}: {one.problem}", markup=False)
