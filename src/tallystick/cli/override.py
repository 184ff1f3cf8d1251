"""`subscriptions override`: what is agreed with one organization beside its plan."""

from typing import Annotated

import asyncpg
import msgspec
import typer

from tallystick.base.errors import InvalidInput
from tallystick.base.money import format_amount, parse_amount
from tallystick.cli.accounts import Org
from tallystick.cli.for_organization import run_for
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, show
from tallystick.constraints.subscriber import Overrides
from tallystick.subscriptions.override import override as override_in_books
from tallystick.subscriptions.publish import find_subscriber


def override(
    org: Org,
    quota: Annotated[
        list[str] | None, typer.Option(help="FEATURE=N, FEATURE=unlimited or FEATURE=plan; may be given again.")
    ] = None,
    credit_limit: Annotated[str | None, typer.Option(help="Credits that may be owed, or plan.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Rate; the others stay as they are.", min=1)] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="Rate; the others stay as they are.", min=1)] = None,
    concurrency: Annotated[int | None, typer.Option(help="Rate; the others stay as they are.", min=1)] = None,
    metered: Annotated[
        bool | None,
        typer.Option("--metered/--no-metered", help="Whether it may use our provider keys."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="First forget all that was agreed.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Agree on something with one organization, whatever its plan says. It outlasts every change of plan."""
    rates = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrency": concurrency,
    }
    given = {name: value for name, value in rates.items() if value is not None}
    quotas = dict(_quota(text) for text in quota or ())
    who = operator(by)
    limit = None if credit_limit in {None, "plan"} else _credits(str(credit_limit))
    if not (given or quotas or clear) and credit_limit is None and metered is None:
        raise InvalidInput("override", "needs something to agree on, or --clear")

    async def work(connection: asyncpg.Connection, payer: str) -> Overrides:
        of_plan = (await find_subscriber(connection, payer)).plan.rates

        def edit(agreed: Overrides) -> Overrides:
            kept = Overrides() if clear else agreed
            merged = {**kept.quotas, **quotas}
            return Overrides(
                quotas={name: value for name, value in merged.items() if not isinstance(value, str)},
                rates=msgspec.structs.replace(kept.rates or of_plan, **given) if given else kept.rates,
                credit_limit=kept.credit_limit if credit_limit is None else limit,
                metered_enabled=kept.metered_enabled if metered is None else metered,
            )

        return await override_in_books(connection, payer, edit, by=who)

    agreed = run_for(org, work)
    show(
        msgspec.to_builtins(agreed),
        as_json,
        lambda: console.print(f"Agreed: {describe_agreed(agreed)}.", markup=False),
    )


def describe_agreed(agreed: Overrides) -> str:
    """In words, as the options name it."""
    parts = [f"{name} {'unlimited' if limit is None else limit}" for name, limit in agreed.quotas.items()]
    if agreed.credit_limit is not None:
        parts.append(f"credit limit {format_amount(agreed.credit_limit)}")
    rates = {} if agreed.rates is None else msgspec.to_builtins(agreed.rates)
    parts += [f"{name.replace('_', ' ')} {'unlimited' if value is None else value}" for name, value in rates.items()]
    if agreed.metered_enabled:
        parts.append("metered")
    return ", ".join(parts) or "nothing"


def _quota(text: str) -> tuple[str, int | str | None]:
    """A feature, and its limit; None is unlimited, "plan" is what the plan says."""
    name, equals, limit = text.partition("=")
    if not (name and equals) or not (limit in {"unlimited", "plan"} or (limit.isdecimal() and len(limit) <= 15)):
        raise InvalidInput("quota", "must be FEATURE=N, FEATURE=unlimited or FEATURE=plan")
    return name, None if limit == "unlimited" else limit if limit == "plan" else int(limit)


def _credits(text: str) -> int:
    return 0 if text == "0" else parse_amount(text, "credit_limit")
