"""`plans` and `constraints`: what is sold, and what an organization's part of it comes to."""

from typing import Annotated

import asyncpg
import msgspec
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.base.changes import Changes
from tallystick.base.money import NANO, format_amount, from_minor
from tallystick.catalog.book import Held
from tallystick.catalog.plan import DOLLARS, Plan
from tallystick.catalog.plan_description import describe_plan
from tallystick.cli.accounts import Org
from tallystick.cli.output import AsJson, console, fields, now, show, table, with_books
from tallystick.constraints.constraints import Constraints, MeterConstraint
from tallystick.constraints.period import period_at
from tallystick.settings import Settings
from tallystick.subscriptions.live import LiveConstraints
from tallystick.subscriptions.offer import read_offer
from tallystick.subscriptions.subscription import count_by_version


def register(app: typer.Typer) -> None:
    plans = typer.Typer(help="Plans: what is sold by subscription.", no_args_is_help=True)
    plans.command("list")(list_plans)
    plans.command("show")(show_plan)
    app.add_typer(plans, name="plans")
    constraints = typer.Typer(help="Constraints: all that a gateway knows of an organization.", no_args_is_help=True)
    constraints.command("show")(show_constraints)
    app.add_typer(constraints, name="constraints")


def list_plans(as_json: AsJson = False) -> None:
    """List the plans that are sold now, the cheapest first, with their subscribers."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> tuple[list[Held[Plan]], dict[int, int]]:
        async with pool.acquire() as connection:
            offer = await read_offer(connection)
            return [*offer.book.plans(offer.at)], await count_by_version(connection)

    found, subscribers = with_books(work)
    if not (found or as_json):
        console.print("No plan is on sale: write one in the catalog file and publish it with `tallystick apply`.")
        return
    show(
        [{**msgspec.to_builtins(p.document), "version": p.id, "subscribers": subscribers.get(p.id, 0)} for p in found],
        as_json,
        lambda: table(
            ["Plan", ">Version", "Name", "Strategy", ">Price", "Tier", ">Subscribers"],
            [
                (d.slug, p.id, d.name, d.strategy, _price(d), d.tier, subscribers.get(p.id, 0))
                for p in found
                for d in (p.document,)
            ],
        ),
    )


def show_plan(slug: Annotated[str, typer.Argument(help="The plan's slug.")], as_json: AsJson = False) -> None:
    """Show the version of a plan that is sold now, as a catalog file writes it."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Held[Plan]:
        async with pool.acquire() as connection:
            offer = await read_offer(connection)
            return offer.book.plan(slug, offer.at)

    found = with_books(work)
    described = {name: text for name, text in describe_plan(found.document).items() if text is not None}
    show(
        {**msgspec.to_builtins(found.document), "version": found.id},
        as_json,
        lambda: fields({"version": found.id, **described}),
    )


def show_constraints(org: Org, as_json: AsJson = False) -> None:
    """Show the compiled document of an organization: what gateways enforce, and nothing else."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Constraints:
        async with pool.acquire() as connection:
            payer, _account = await resolve_payer(connection, org)
        # Never started: it reads the document as a gateway does, and takes nothing from memory.
        return await LiveConstraints(pool, Changes("")).find(payer)

    found = with_books(work)
    show(msgspec.to_builtins(found), as_json, lambda: fields(_described(found)))


def _described(found: Constraints) -> dict[str, object]:
    period = period_at(found.period, now())
    rates = {name: getattr(found.rates, name) for name in found.rates.__struct_fields__}
    described: dict[str, object] = {
        "organization": f"{found.organization} (account {found.account})",
        "version": found.version,
        "plan": "none" if found.plan is None else f"{found.plan} (version {found.plan_version})",
        "strategy": found.strategy,
        "status": found.status,
        "access": _access(found),
        "auth modes": " ".join(found.auth_modes),
        "models": "charged by the price book" if found.charges_models else "covered by the plan",
        "period": f"{period.starts_at:%Y-%m-%d %H:%M} to {period.ends_at:%Y-%m-%d %H:%M}, a {found.period.interval}",
        **{f"meter {meter.meter}": _meter(meter) for meter in found.meters},
        "tier": found.tier,
        **{f"quota {name}": _limit(limit) for name, limit in found.quotas.items()},
        "features": " ".join(found.features) or "none",
        "rates": ", ".join(f"{name} {value}" for name, value in rates.items() if value is not None) or "unlimited",
        "routes": "all" if found.routes is None else " ".join(found.routes),
        "credit limit": f"{format_amount(found.credit_limit)} credits",
        "overdraft": f"{format_amount(found.overdraft)} credits",
        "max tokens": found.default_max_tokens or "the organization's or the server's",
    }
    return described


def _access(found: Constraints) -> str:
    if not found.access:
        return f"no: {found.access_reason}"
    return f"until {found.access_until:%Y-%m-%d %H:%M}: {found.access_reason}" if found.access_until else "yes"


def _meter(meter: MeterConstraint) -> str:
    parts = [f"{_units(meter, meter.allowance)} included"]
    if meter.price:
        parts.append(f"then {format_amount(meter.price)} per {_units(meter, meter.per)}")
    parts.append("no cap" if meter.cap is None else f"cap {_units(meter, meter.cap)}")
    return ", ".join(parts)


def _units(meter: MeterConstraint, units: int) -> str:
    if meter.meter != DOLLARS:
        return str(units)
    return f"{format_amount(units)} credits" if units >= NANO else f"{units} nanocredits"


def _limit(limit: int | None) -> str:
    return "unlimited" if limit is None else f"{limit} in 30 days"


def _price(plan: Plan) -> str:
    return f"{format_amount(from_minor(plan.amount_minor))} {plan.currency} a {plan.interval}"
