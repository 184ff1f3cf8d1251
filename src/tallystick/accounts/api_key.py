"""API keys: what an organization's programs present to the gateway. Shown once, stored as a digest, revoked at once."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg
import msgspec

from tallystick.accounts import secret_token
from tallystick.accounts.display_name import check_name
from tallystick.accounts.member import Permission, require, role_in
from tallystick.accounts.organization import lock_organization
from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.base.ids import is_text_id, text_id
from tallystick.ledger import audit

PREFIX_CHARS: Final = 12
LIVE_KEYS_MAX: Final = 1000
# Past these the driver, or Python itself with an offset from UTC, overflows.
_YEAR_MIN, _YEAR_MAX = 2000, 9000

queries = load_queries(__file__, "api_key.sql")


class Scope(StrEnum):
    """What a key may do beside calling the gateway, where whoever made it may do so, too."""

    BILLING = "billing"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be shown at any time: `prefix` is how its secret begins."""

    id: str
    organization: str
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made, with its secret: there is no other moment to see it."""

    key: ApiKey
    secret: str


class TooManyKeys(Conflict):
    """The organization has as many keys as it may have; revoke one that is not used."""

    code = "too_many_keys"


async def create(
    connection: asyncpg.Connection,
    *,
    organization: str,
    name: str,
    expires_at: datetime | None = None,
    scopes: Sequence[Scope] = (),
    by: str = "process",
) -> NewApiKey:
    """A new key of the organization; raises NotFound where there is no such organization, and Forbidden for a scope
    that `by`, a user, does not have there."""
    name = check_name(name)
    if expires_at is not None and not (expires_at.tzinfo and _YEAR_MIN <= expires_at.year <= _YEAR_MAX):
        raise InvalidInput("expires_at", "must be a time in the future, with its offset from UTC")
    secret = secret_token.new_token(secret_token.API_KEY)
    async with connection.transaction():
        await lock_organization(connection, organization)
        await _refuse_wider(connection, organization, scopes, by)
        if await queries.count_live_keys(connection, organization=organization) >= LIVE_KEYS_MAX:
            raise TooManyKeys(f"An organization can have {LIVE_KEYS_MAX} keys; revoke one that is not used.")
        row = await queries.insert_key(
            connection,
            id=text_id("key"),
            organization=organization,
            name=name,
            prefix=secret[:PREFIX_CHARS],
            hash=secret_token.digest(secret),
            expires_at=expires_at,
            scopes=sorted({*scopes}),
            created_by=by,
        )
        if row is None:
            raise InvalidInput("expires_at", "must be in the future")
        key = _key(row)
        after = {"name": key.name, "prefix": key.prefix, "scopes": key.scopes, "expires_at": key.expires_at}
        await audit.record(connection, "key.created", by=by, subject=key.id, organization=organization, after=after)
    return NewApiKey(key=key, secret=secret)


async def revoke(connection: asyncpg.Connection, *, organization: str, key: str, by: str = "process") -> None:
    """No process accepts the key a second after this commits. Raises NotFound for a key of another organization."""
    async with connection.transaction():
        row = await queries.lock_key(connection, id=key, organization=organization) if is_text_id(key) else None
        if row is None:
            raise NotFound("There is no such API key.")
        if row["revoked_at"] is None:
            await queries.revoke_key(connection, id=key)
            await audit.record(connection, "key.revoked", by=by, subject=key, organization=organization)
        # Said again for one that was revoked before: hearing it twice does no harm.
        await queries.announce_key(connection, subject=row["subject"])


async def narrow(connection: asyncpg.Connection, *, organization: str, created_by: str, scope: Scope, by: str) -> None:
    """Take a scope from every key that someone made who has it no more: a key is never wider than its maker."""
    rows = queries.take_scope(connection, organization=organization, created_by=created_by, scope=scope)
    for key in [row["id"] async for row in rows]:
        await audit.record(
            connection, "key.narrowed", by=by, subject=key, organization=organization, before={"scope": scope}
        )


async def _refuse_wider(connection: asyncpg.Connection, organization: str, scopes: Sequence[Scope], by: str) -> None:
    # Under the organization's lock, which whoever changes a role takes, too.
    if Scope.BILLING in scopes and not by.startswith("operator:"):
        role = await role_in(connection, organization=organization, user_id=by)
        if role is None:
            raise NotFound("There is no such organization.")
        require(role, Permission.BILLING)


async def find(connection: asyncpg.Connection, key: str) -> ApiKey:
    """Any organization's key, for the operator; raises NotFound where there is none of this id."""
    row = await queries.find_key(connection, id=key) if is_text_id(key) else None
    if row is None:
        raise NotFound("There is no such API key.")
    return _key(row)


async def of_organization(
    connection: asyncpg.Connection, organization: str, *, before: str | None = None, limit: int = 100
) -> Sequence[ApiKey]:
    """The organization's keys, revoked ones too, the newest first; with `before`, those older than that key."""
    if before is not None and not is_text_id(before):
        raise InvalidInput("before", "must be the id of a key")
    rows = queries.list_keys(connection, organization=organization, before=before, row_limit=limit)
    return [_key(row) async for row in rows]


def _key(row: asyncpg.Record) -> ApiKey:
    return msgspec.convert(dict(row), ApiKey)
