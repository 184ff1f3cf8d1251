"""`webhooks`: where organizations want to be told of things, what they were told, and telling it again."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import asyncpg
import msgspec
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.app.credentials import sealer
from tallystick.base.errors import InvalidInput
from tallystick.cli.accounts import Org
from tallystick.cli.for_organization import run_for
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, show, table, with_books
from tallystick.notices import delivery, endpoint
from tallystick.notices.delivery import Delivery, State
from tallystick.notices.endpoint import Endpoint, NewEndpoint
from tallystick.notices.fence import Fence
from tallystick.settings import Settings

_OVERLAP_HOURS_MAX: Final = endpoint.OVERLAP_MAX // timedelta(hours=1)

Webhook = Annotated[str, typer.Argument(help="A webhook's id (whe_...), as `webhooks list` shows it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Webhooks: where organizations are told of things.", no_args_is_help=True)
    group.command("list")(list_webhooks)
    group.command("create")(create)
    group.command("enable")(enable)
    group.command("disable")(disable)
    group.command("rotate")(rotate)
    group.command("delete")(delete)
    group.command("test")(send_test)
    group.command("deliveries")(deliveries)
    group.command("replay")(replay)
    app.add_typer(group, name="webhooks")


def list_webhooks(org: Org, as_json: AsJson = False) -> None:
    """List an organization's webhooks, the oldest first."""
    found = run_for(org, endpoint.of_organization)
    show(
        found,
        as_json,
        lambda: table(
            ["Id", "URL", "Types", "Enabled", "Failing since (UTC)"],
            [(e.id, e.url, " ".join(e.types), _enabled(e), _moment(e.failing_since)) for e in found],
        ),
    )


def create(
    org: Org,
    url: Annotated[str, typer.Argument(help="An https address.")],
    types: Annotated[list[str] | None, typer.Option("--type", help="Such as order.*; may be given again.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Create a webhook for an organization. Its secret is printed once, now."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, settings: Settings) -> NewEndpoint:
        await Fence(loopback=settings.webhooks_to_loopback).vet(url)
        async with pool.acquire() as connection:
            payer, _account = await resolve_payer(connection, org)
            return await endpoint.create(
                connection,
                sealer(settings),
                organization=payer,
                url=url,
                types=types or ["*"],
                description=description,
                by=who,
            )

    _show_once(with_books(work), as_json)


def enable(webhook: Webhook, by: By = None, as_json: AsJson = False) -> None:
    """Send to a webhook again that was disabled. What it missed is sent by `webhooks replay`."""
    _set_enabled(webhook, enabled=True, by=by, as_json=as_json)


def disable(webhook: Webhook, by: By = None, as_json: AsJson = False) -> None:
    """Send nothing more to a webhook. What waits for it has failed."""
    _set_enabled(webhook, enabled=False, by=by, as_json=as_json)


def rotate(
    webhook: Webhook,
    overlap_hours: Annotated[
        int, typer.Option(help="How long the secret it has signs beside the new one.", min=0, max=_OVERLAP_HOURS_MAX)
    ] = 24,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Give a webhook a new secret, printed once, now. Its owner needs it before the overlap is over; with
    `--overlap-hours 0` the old one ends at once, as it must where others have seen it."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, settings: Settings) -> NewEndpoint:
        async with pool.acquire() as connection:
            owner = await endpoint.owner(connection, webhook)
            overlap = timedelta(hours=overlap_hours)
            return await endpoint.rotate(connection, sealer(settings), owner, webhook, overlap=overlap, by=who)

    _show_once(with_books(work), as_json)


def delete(webhook: Webhook, by: By = None, as_json: AsJson = False) -> None:
    """Forget a webhook, and what was sent to it. `webhooks disable` stops one that is to stay."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> None:
        async with pool.acquire() as connection:
            await endpoint.remove(connection, await endpoint.owner(connection, webhook), webhook, by=who)

    with_books(work)
    show({"id": webhook, "deleted": True}, as_json, lambda: console.print(f"{webhook} is deleted.", markup=False))


def send_test(webhook: Webhook, as_json: AsJson = False) -> None:
    """Send a message of the type webhook.test to this webhook, and to no other."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> str:
        async with pool.acquire() as connection:
            return await delivery.send_test(connection, await endpoint.owner(connection, webhook), webhook)

    message = with_books(work)
    show({"message": message}, as_json, lambda: console.print(f"{message} is on its way."))


def deliveries(
    webhook: Webhook,
    state: Annotated[State | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was sent to a webhook and is to be sent, the newest first, with the last answer."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[Delivery]:
        async with pool.acquire() as connection:
            owner = await endpoint.owner(connection, webhook)
            return [*await delivery.of_endpoint(connection, owner, webhook, state=state, limit=limit)]

    found = with_books(work)
    show(
        found,
        as_json,
        lambda: table(
            ["Delivery", "When (UTC)", "Type", "State", ">Attempts", ">Status", ">ms", "Answer"],
            [(d.id, _moment(d.at), d.type, d.state, d.attempts, *_last(d)) for d in found],
        ),
    )


def replay(
    webhook: Webhook,
    since: Annotated[datetime | None, typer.Option(help="All that happened from then on (UTC).")] = None,
    one: Annotated[str | None, typer.Option("--delivery", help="Only this one (whd_...).")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Send again what a webhook was sent, or missed: one message, or all since a time. Their ids stay the same."""
    who = operator(by)
    if (since is None) == (one is None):
        raise InvalidInput("replay", "needs either --since or --delivery")

    async def work(pool: asyncpg.Pool, _settings: Settings) -> int:
        async with pool.acquire() as connection:
            owner = await endpoint.owner(connection, webhook)
            if since is not None:
                moment = since.replace(tzinfo=since.tzinfo or UTC)
                return await delivery.replay_since(connection, owner, webhook, moment, by=who)
            await delivery.replay(connection, owner, one or "", by=who)
            return 1

    count = with_books(work)
    show({"messages": count}, as_json, lambda: console.print(f"{count} messages are on their way."))


def _show_once(made: NewEndpoint, as_json: bool) -> None:
    show(
        {**msgspec.structs.asdict(made.endpoint), "secret": made.secret},
        as_json,
        lambda: console.print(f"{made.secret}\n[dim]{made.endpoint.id}; keep it, it is not shown again[/dim]"),
    )


def _set_enabled(webhook: str, *, enabled: bool, by: str | None, as_json: bool) -> None:
    who = operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Endpoint:
        async with pool.acquire() as connection:
            owner = await endpoint.owner(connection, webhook)
            return await endpoint.change(connection, owner, webhook, {"enabled": enabled}, by=who)

    changed = with_books(work)
    show(changed, as_json, lambda: console.print(f"{changed.id} is {'enabled' if changed.enabled else 'disabled'}."))


def _enabled(found: Endpoint) -> str:
    return "yes" if found.enabled else f"no: {found.disabled_reason or 'by its owner'}"


def _last(found: Delivery) -> tuple[object, object, object]:
    if not found.log:
        return None, None, None
    return found.log[0].status, found.log[0].ms, found.log[0].answer


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else ""
