"""Organizations: who pays. Each has one account in the ledger."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg
import msgspec

from tallystick.accounts.display_name import check_name
from tallystick.base.database import load_queries
from tallystick.base.errors import Forbidden, NotFound
from tallystick.base.ids import is_text_id, text_id
from tallystick.ledger import audit
from tallystick.ledger.account import open_account

queries = load_queries(__file__, "organization.sql")


class OrganizationState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


_ACTS: Final = {
    (OrganizationState.ACTIVE, OrganizationState.SUSPENDED): "organization.suspended",
    (OrganizationState.SUSPENDED, OrganizationState.ACTIVE): "organization.activated",
}


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    account: int
    state: OrganizationState
    default_max_tokens: int | None
    created_at: datetime


class OrganizationSuspended(Forbidden):
    """The operator suspended this organization: its keys are known, and refused."""

    code = "organization_suspended"


async def create(connection: asyncpg.Connection, *, name: str, by: str = "process") -> Organization:
    """A new organization with an empty account, in one transaction."""
    name = check_name(name)
    async with connection.transaction():
        account = await open_account(connection)
        made = _organization(
            await queries.insert_organization(connection, id=text_id("org"), name=name, account=account)
        )
        await audit.record(
            connection, "organization.created", by=by, subject=made.id, organization=made.id, after={"name": name}
        )
    return made


async def find(connection: asyncpg.Connection, organization: str) -> Organization:
    """Raises NotFound where there is none of this id."""
    row = await queries.find_organization(connection, id=organization) if is_text_id(organization) else None
    return _found(row)


async def page(connection: asyncpg.Connection, *, after: str = "", limit: int = 100) -> Sequence[Organization]:
    """Organizations in the order they were made, those behind the id `after`."""
    return [_organization(row) async for row in queries.list_organizations(connection, after=after, row_limit=limit)]


async def resolve_payer(connection: asyncpg.Connection, user_or_organization: str) -> tuple[str, int]:
    """The organization that pays, and its account: a user's personal one, or the organization itself."""
    if is_text_id(user_or_organization):
        row = await queries.find_payer(connection, id=user_or_organization)
        if row is not None:
            return row["id"], row["account"]
    raise NotFound("There is no such user or organization.")


async def lock_organization(connection: asyncpg.Connection, organization: str) -> None:
    """Members, invitations and keys of one organization change one after the other. Raises NotFound."""
    if not is_text_id(organization) or not await queries.lock_organization(connection, id=organization):
        raise NotFound("There is no such organization.")


async def rename(connection: asyncpg.Connection, organization: str, *, name: str, by: str) -> Organization:
    """Give an organization another name."""
    name = check_name(name)
    async with connection.transaction():
        await lock_organization(connection, organization)
        before = await find(connection, organization)
        after = _organization(await queries.rename_organization(connection, id=organization, name=name))
        await _record(connection, "organization.renamed", before, after, by)
    return after


async def change(
    connection: asyncpg.Connection,
    organization: str,
    *,
    state: OrganizationState,
    default_max_tokens: int | None,
    by: str = "process",
) -> Organization:
    """Suspend or reactivate an organization, or give it another default limit; every process hears of it."""
    async with connection.transaction():
        await lock_organization(connection, organization)
        before = await find(connection, organization)
        after = _organization(
            await queries.change_organization(
                connection, id=organization, state=state, default_max_tokens=default_max_tokens
            )
        )
        await _record(connection, _ACTS.get((before.state, after.state), "organization.changed"), before, after, by)
    return after


async def set_state(
    connection: asyncpg.Connection, organization: str, state: OrganizationState, *, by: str
) -> Organization:
    """Suspend or reactivate an organization."""
    async with connection.transaction():
        await lock_organization(connection, organization)
        found = await find(connection, organization)
        return await change(connection, organization, state=state, default_max_tokens=found.default_max_tokens, by=by)


async def _record(connection: asyncpg.Connection, act: str, before: Organization, after: Organization, by: str) -> None:
    fields = [field for field in Organization.__struct_fields__ if getattr(before, field) != getattr(after, field)]
    if fields:
        was, is_ = ({field: getattr(one, field) for field in fields} for one in (before, after))
        await audit.record(connection, act, by=by, subject=after.id, organization=after.id, before=was, after=is_)


def _found(row: asyncpg.Record | None) -> Organization:
    if row is None:
        raise NotFound("There is no such organization.")
    return _organization(row)


def _organization(row: asyncpg.Record) -> Organization:
    return msgspec.convert(dict(row), Organization)
