"""`members`: who belongs to an organization, and in which role."""

from collections.abc import Sequence
from typing import Annotated, Final

import asyncpg
import typer

from tallystick.accounts import member, membership
from tallystick.accounts.member import Role
from tallystick.accounts.membership import Member
from tallystick.cli.accounts import Org
from tallystick.cli.for_organization import run_for
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, show, table

Who = Annotated[str, typer.Argument(help="A user's e-mail, or their id (user_...).")]
_PAGE: Final = 100


def register(app: typer.Typer) -> None:
    members = typer.Typer(help="Members: who belongs to an organization.", no_args_is_help=True)
    members.command("list")(list_members)
    members.command("add")(add_member)
    members.command("role")(change_role)
    members.command("remove")(remove_member)
    app.add_typer(members, name="members")


def list_members(org: Org, as_json: AsJson = False) -> None:
    """List the members of an organization with their roles, in the order in which they signed up."""

    async def work(connection: asyncpg.Connection, payer: str) -> Sequence[Member]:
        found: list[Member] = []
        while True:
            after = found[-1].user_id if found else None
            page = await membership.list_members(connection, payer, after=after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found

    found = run_for(org, work)
    show(
        [{"user_id": one.user_id, "email": one.email, "role": one.role} for one in found],
        as_json,
        lambda: table(["Id", "E-mail", "Role"], [(one.user_id, one.email, one.role) for one in found]),
    )


def add_member(
    org: Org,
    who: Who,
    role: Annotated[Role, typer.Option(help="What they may do there.")] = Role.DEVELOPER,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Make somebody who has signed up a member. Others are invited by an owner or admin, over the API."""
    operator_name = operator(by)

    async def work(connection: asyncpg.Connection, payer: str) -> str:
        async with connection.transaction():
            user_id = await membership.user_named(connection, who)
            await member.add(connection, organization=payer, user_id=user_id, role=role, by=operator_name)
        return user_id

    _tell(run_for(org, work), role, as_json)


def change_role(
    org: Org,
    who: Who,
    role: Annotated[Role, typer.Argument(help="What they may do there from now on.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Give a member another role. The last owner stays one."""
    operator_name = operator(by)

    async def work(connection: asyncpg.Connection, payer: str) -> str:
        user_id = await membership.user_named(connection, who)
        await membership.change_role(connection, payer, user_id, role, by=operator_name)
        return user_id

    _tell(run_for(org, work), role, as_json)


def remove_member(org: Org, who: Who, by: By = None, as_json: AsJson = False) -> None:
    """Remove a member. Nobody leaves their personal organization, and the last owner stays."""
    operator_name = operator(by)

    async def work(connection: asyncpg.Connection, payer: str) -> str:
        user_id = await membership.user_named(connection, who)
        await membership.remove(connection, payer, user_id, by=operator_name)
        return user_id

    _tell(run_for(org, work), None, as_json)


def _tell(user_id: str, role: Role | None, as_json: bool) -> None:
    said = f"{user_id} is no member any more." if role is None else f"{user_id} is {role}."
    show({"user_id": user_id, "role": role}, as_json, lambda: console.print(said, markup=False))
