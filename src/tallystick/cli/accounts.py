"""`orgs` and `keys`: who pays, and what their programs present."""

from datetime import UTC, datetime
from typing import Annotated

import asyncpg
import typer

from tallystick.accounts import api_key, organization
from tallystick.accounts.api_key import ApiKey, NewApiKey, Scope
from tallystick.accounts.organization import Organization, OrganizationState
from tallystick.base.money import format_amount, to_decimal
from tallystick.cli.for_organization import run_for
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, fields, show, table, with_books
from tallystick.ledger import read
from tallystick.ledger.account import Balance
from tallystick.settings import Settings

Org = Annotated[str, typer.Argument(help="An organization's id (org_...), or a user's (user_...) for their own.")]


def register(app: typer.Typer) -> None:
    orgs = typer.Typer(help="Organizations: who pays.", no_args_is_help=True)
    orgs.command("create")(create_org)
    orgs.command("list")(list_orgs)
    orgs.command("show")(show_org)
    orgs.command("suspend")(suspend_org)
    orgs.command("activate")(activate_org)
    app.add_typer(orgs, name="orgs")
    keys = typer.Typer(help="API keys: what an organization's programs present.", no_args_is_help=True)
    keys.command("create")(create_key)
    keys.command("revoke")(revoke_key)
    keys.command("list")(list_keys)
    app.add_typer(keys, name="keys")


def create_org(
    name: Annotated[str, typer.Argument(help="What people call it.")], by: By = None, as_json: AsJson = False
) -> None:
    """Create an organization with an empty balance."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Organization:
        async with pool.acquire() as connection:
            return await organization.create(connection, name=name, by=who)

    made = with_books(work)
    show(_as_dict(made), as_json, lambda: console.print(f"{made.id}  {made.name}", markup=False))


def list_orgs(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 100,
    after: Annotated[str, typer.Option(help="Only those behind this id.")] = "",
    as_json: AsJson = False,
) -> None:
    """List organizations, the oldest first."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[Organization]:
        async with pool.acquire() as connection:
            return [*await organization.page(connection, after=after, limit=limit)]

    found = with_books(work)
    show(
        [_as_dict(one) for one in found],
        as_json,
        lambda: table(["Id", "Name", "State", "Since"], [(o.id, o.name, o.state, _day(o.created_at)) for o in found]),
    )


def show_org(org: Org, as_json: AsJson = False) -> None:
    """Show one organization with its balance and keys."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> tuple[Organization, Balance, list[ApiKey]]:
        async with pool.acquire() as connection:
            payer, account = await organization.resolve_payer(connection, org)
            return (
                await organization.find(connection, payer),
                await read.balance(connection, account),
                [*await api_key.of_organization(connection, payer)],
            )

    found, balance, keys = with_books(work)
    live = sum(key.revoked_at is None for key in keys)
    show(
        {
            **_as_dict(found),
            "balance": to_decimal(balance.posted),
            "held": to_decimal(balance.held),
            "available": to_decimal(balance.available),
            "keys": live,
        },
        as_json,
        lambda: fields(
            {
                "id": found.id,
                "name": found.name,
                "state": found.state,
                "since": _day(found.created_at),
                "balance": f"{format_amount(balance.posted)} credits, {format_amount(balance.held)} of them held",
                "keys": f"{live} in use, {len(keys) - live} revoked",
            }
        ),
    )


def suspend_org(org: Org, by: By = None, as_json: AsJson = False) -> None:
    """Suspend an organization. Every running process refuses its keys within a second; nothing is lost."""
    _set_state(org, OrganizationState.SUSPENDED, by, as_json)


def activate_org(org: Org, by: By = None, as_json: AsJson = False) -> None:
    """End the suspension of an organization."""
    _set_state(org, OrganizationState.ACTIVE, by, as_json)


def _set_state(org: str, state: OrganizationState, by: str | None, as_json: bool) -> None:
    who = operator(by)
    changed = run_for(org, lambda connection, payer: organization.set_state(connection, payer, state, by=who))
    show(_as_dict(changed), as_json, lambda: console.print(f"{changed.id} is {changed.state}.", markup=False))


def create_key(
    org: Org,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
    expires_at: Annotated[datetime | None, typer.Option(help="When it ends by itself (UTC).")] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do beside calling the gateway; may be given again.")
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key. Its secret is printed once, now."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> NewApiKey:
        until = expires_at.replace(tzinfo=UTC) if expires_at and expires_at.tzinfo is None else expires_at
        async with pool.acquire() as connection:
            payer, _account = await organization.resolve_payer(connection, org)
            return await api_key.create(
                connection, organization=payer, name=name, expires_at=until, scopes=scope or (), by=who
            )

    made = with_books(work)
    show(
        {"id": made.key.id, "key": made.secret, "prefix": made.key.prefix, "organization": made.key.organization},
        as_json,
        lambda: console.print(f"{made.secret}\n[dim]{made.key.id}; keep it, it is not shown again[/dim]"),
    )


def revoke_key(
    key: Annotated[str, typer.Argument(help="The key's id (key_...), as `keys list` shows it.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Revoke an API key. Every running process refuses it within a second."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> ApiKey:
        async with pool.acquire() as connection:
            found = await api_key.find(connection, key)
            await api_key.revoke(connection, organization=found.organization, key=key, by=who)
            return await api_key.find(connection, key)

    revoked = with_books(work)
    show(
        {"id": revoked.id, "revoked_at": revoked.revoked_at},
        as_json,
        lambda: console.print(f"{revoked.prefix}... ({revoked.id}) is revoked."),
    )


def list_keys(org: Org, as_json: AsJson = False) -> None:
    """List an organization's keys, the newest first."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[ApiKey]:
        async with pool.acquire() as connection:
            payer, _account = await organization.resolve_payer(connection, org)
            return [*await api_key.of_organization(connection, payer, limit=1000)]

    found = with_books(work)
    show(
        [{field: getattr(key, field) for field in ApiKey.__struct_fields__} for key in found],
        as_json,
        lambda: table(
            ["Id", "Begins with", "Name", "Scopes", "Since", "Revoked"],
            [
                (k.id, k.prefix, k.name, ", ".join(k.scopes), _day(k.created_at), k.revoked_at and _day(k.revoked_at))
                for k in found
            ],
        ),
    )


def _as_dict(found: Organization) -> dict[str, object]:
    return {field: getattr(found, field) for field in Organization.__struct_fields__}


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
