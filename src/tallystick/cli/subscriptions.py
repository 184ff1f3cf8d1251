"""`subscriptions`: who is on which plan, and every change of that."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, TypeVar

import asyncpg
import msgspec
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.base.errors import InvalidInput
from tallystick.base.money import format_amount, from_minor
from tallystick.catalog.plan import Plan
from tallystick.catalog.read import plan_version
from tallystick.cli.accounts import Org
from tallystick.cli.for_organization import run_for
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, fields, now, show, table, with_books
from tallystick.cli.override import describe_agreed, override
from tallystick.constraints.subscriber import Overrides
from tallystick.settings import Settings
from tallystick.subscriptions import subscription
from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.change_plan import Changed, When, change_plan
from tallystick.subscriptions.dunning import mark_active, mark_past_due
from tallystick.subscriptions.move import Moved, move, move_all
from tallystick.subscriptions.pause import pause, resume
from tallystick.subscriptions.publish import find_subscriber
from tallystick.subscriptions.subscribe import subscribe
from tallystick.subscriptions.subscription import Event, Subscription

Slug = Annotated[str, typer.Option("--plan", help="The plan's slug, as `plans list` shows it.")]
Result = TypeVar("Result")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Subscriptions: who is on which plan.", no_args_is_help=True)
    group.command("start")(start)
    group.command("change")(change)
    group.command("cancel")(cancel_one)
    group.command("pause")(pause_one)
    group.command("resume")(resume_one)
    group.command("past-due")(past_due)
    group.command("paid")(paid)
    group.command("list")(list_all)
    group.command("show")(show_one)
    group.command("move")(move_some)
    group.command("override")(override)
    app.add_typer(group, name="subscriptions")


def start(
    org: Org,
    plan: Slug,
    trial_days: Annotated[
        int | None, typer.Option(help="Days of trial; by default the plan's, for a first subscription.", min=0)
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Subscribe an organization to a plan from now on."""
    who = operator(by)
    made = run_for(org, lambda connection, payer: subscribe(connection, payer, plan, trial_days=trial_days, by=who))
    until = f", on trial until {_moment(made.trial_ends_at)}" if made.trial_ends_at else ""
    _show(made, as_json, f"Subscribed to {plan}{until}. {made.id}")


def change(
    org: Org,
    plan: Slug,
    when: Annotated[When, typer.Option(help="auto: a dearer plan now, a cheaper one at the period's end.")] = "auto",
    restart_period: Annotated[bool, typer.Option(help="Begin a new billing period now.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Change the plan of a subscription. What it comes to is shown and kept; nothing is charged."""
    who = operator(by)

    def work(connection: asyncpg.Connection, payer: str) -> Awaitable[Changed]:
        return change_plan(connection, payer, plan, when=when, restart_period=restart_period, by=who)

    _show_change(run_for(org, work), plan, as_json)


def cancel_one(
    org: Org,
    at_once: Annotated[bool, typer.Option("--at-once", help="Not at the end of the period, but now.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End a subscription when its period ends. `resume` takes that back before."""
    who = operator(by)
    after = run_for(org, lambda connection, payer: cancel(connection, payer, at_once=at_once, by=who))
    ends_at = after.ended_at or after.cancel_at
    _show(after, as_json, f"The subscription {'ended' if after.ended_at else 'ends'} at {_moment(ends_at)}.")


def pause_one(org: Org, by: By = None, as_json: AsJson = False) -> None:
    """Take access away until the subscription is resumed."""
    who = operator(by)
    after = run_for(org, lambda connection, payer: pause(connection, payer, by=who))
    _show(after, as_json, "Paused: requests are refused until it is resumed.")


def resume_one(org: Org, by: By = None, as_json: AsJson = False) -> None:
    """End a pause, and take back a cancellation that waits for the period's end."""
    who = operator(by)
    after = run_for(org, lambda connection, payer: resume(connection, payer, by=who))
    _show(after, as_json, f"The subscription is {after.status}.")


def past_due(org: Org, by: By = None, as_json: AsJson = False) -> None:
    """Note that a plan you bill yourself is not paid: access ends when the plan's days of grace are over."""
    who = operator(by)
    after = run_for(org, lambda connection, payer: mark_past_due(connection, payer, by=who))
    until = f"until {_moment(after.grace_ends_at)}" if after.grace_ends_at else "has ended"
    _show(after, as_json, f"Past due since {_moment(after.past_due_since)}: access {until}.")


def paid(org: Org, by: By = None, as_json: AsJson = False) -> None:
    """Note that what was past due is paid."""
    who = operator(by)
    after = run_for(org, lambda connection, payer: mark_active(connection, payer, by=who))
    _show(after, as_json, f"Nothing is past due. The subscription is {after.status}.")


def list_all(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 100,
    after: Annotated[str, typer.Option(help="Only those of organizations behind this id.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the subscriptions that have not ended, by organization."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[tuple[Subscription, Plan]]:
        async with pool.acquire() as connection:
            found = await subscription.page(connection, after=after, limit=limit)
            plans = {number: await plan_version(connection, number) for number in {one.plan_version for one in found}}
            return [(one, plans[one.plan_version]) for one in found]

    rows = with_books(work)
    show(
        [{**_as_dict(one), "plan": plan.slug} for one, plan in rows],
        as_json,
        lambda: table(
            ["Organization", "Plan", ">Version", "Status", "Period ends", "Then"],
            [
                (o.organization, p.slug, o.plan_version, o.status, f"{o.paid_until(p, now()):%Y-%m-%d}", _then(o))
                for o, p in rows
            ],
        ),
    )


def show_one(org: Org, as_json: AsJson = False) -> None:
    """Show an organization's subscription, what is agreed beside it, and what was done to it."""

    async def work(
        connection: asyncpg.Connection, payer: str
    ) -> tuple[Subscription | None, Plan | None, Overrides, list[Event]]:
        found = await subscription.live(connection, payer)
        plan = None if found is None else await plan_version(connection, found.plan_version)
        events = await subscription.history(connection, payer)
        return found, plan, (await find_subscriber(connection, payer)).overrides, [*events]

    found, plan, agreed, events = run_for(org, work)

    def text() -> None:
        if found is None or plan is None:
            console.print("No subscription.")
        else:
            fields(_described(found, plan))
        if agreed != Overrides():
            fields({"agreed": describe_agreed(agreed)})
        if events:
            table(
                ["At", "In force", "What", "By"],
                [(_moment(e.at), _moment(e.effective_at), e.what, e.done_by) for e in events],
            )

    show(
        {
            "subscription": None if found is None else _as_dict(found),
            "plan": None if plan is None else plan.slug,
            "agreed": msgspec.to_builtins(agreed),
            "history": [_event(event) for event in events],
        },
        as_json,
        text,
    )


def move_some(
    plan: Slug,
    org: Annotated[str | None, typer.Argument(help="One organization's id.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every subscriber of an older version.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Move subscribers of a plan's older version to the one that is sold now. Nobody is moved otherwise.

    The new limits hold at once, the new price from the next period on.
    """
    if (org is None) != everyone:
        raise InvalidInput("move", "needs either an organization or --all")
    who = operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Moved:
        if org is None:
            told = (lambda done: console.print(f"{done} moved")) if tells else (lambda _done: None)
            return await move_all(pool, plan, by=who, progress=told)
        async with pool.acquire() as connection:
            payer, _account = await resolve_payer(connection, org)
            await move(connection, payer, plan, by=who)
            return Moved(moved=1, left={})

    tells = everyone and not as_json
    done = with_books(work)

    def text() -> None:
        console.print(f"{done.moved} moved to the newest version of {plan}.")
        for name, why in done.left.items():
            console.print(f"{name} was left: {why}", markup=False)

    show(msgspec.to_builtins(done), as_json, text)


def _show(found: Subscription, as_json: bool, sentence: str) -> None:
    show(_as_dict(found), as_json, lambda: console.print(sentence, markup=False))


def _show_change(changed: Changed, plan: str, as_json: bool) -> None:
    proration = changed.proration

    def text() -> None:
        if changed.subscription.pending_at is not None:
            console.print(f"The plan becomes {plan} at {_moment(changed.effective_at)}.")
        else:
            console.print(f"The plan is {plan}.")
        if proration is not None:
            due, credited = proration.due, proration.credited
            console.print(
                f"{_money(due.amount_minor)} due for the rest of the period, {_money(credited.amount_minor)} credited"
                f" for the old plan: {_money(proration.net_minor)} {proration.currency}. Nothing was charged."
            )

    show(
        {
            "subscription": _as_dict(changed.subscription),
            "effective_at": changed.effective_at,
            "proration": None
            if proration is None
            else {**msgspec.to_builtins(proration), "net_minor": proration.net_minor},
        },
        as_json,
        text,
    )


def _described(found: Subscription, plan: Plan) -> dict[str, object]:
    period = found.period(plan, now())
    described: dict[str, object | None] = {
        "subscription": found.id,
        "plan": f"{plan.slug} (version {found.plan_version})",
        "status": found.status,
        "period": f"{_moment(period.starts_at)} to {_moment(period.ends_at)}",
        "trial ends": found.trial_ends_at and found.status == "trialing" and _moment(found.trial_ends_at),
        "past due": found.past_due_since and f"since {_moment(found.past_due_since)}",
        "then": _then(found),
    }
    return {name: value for name, value in described.items() if value}


def _then(found: Subscription) -> str:
    if found.cancel_at is not None:
        return f"ends at {_moment(found.cancel_at)}"
    if found.pending_at is not None:
        return f"plan version {found.pending_plan_version} from {_moment(found.pending_at)}"
    return ""


def _as_dict(found: Subscription) -> dict[str, object]:
    return {field: getattr(found, field) for field in Subscription.__struct_fields__}


def _event(event: Event) -> dict[str, object]:
    values = {field: getattr(event, field) for field in Event.__struct_fields__}
    raw = {name: value and msgspec.json.decode(value) for name, value in values.items() if isinstance(value, bytes)}
    return {**values, **raw}


def _money(minor: int) -> str:
    return format_amount(from_minor(minor))


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
