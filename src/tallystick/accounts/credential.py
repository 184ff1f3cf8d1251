"""Provider secrets at rest, sealed and bound to the row they are in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.accounts.organization import lock_organization
from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.base.ids import is_text_id
from tallystick.base.sealed import Sealer
from tallystick.ledger import audit

OPERATOR: Final = "operator"
EACH_MAX: Final = 50
# Four characters of a short secret would be a good part of it.
_SHOWN_FROM_CHARS: Final = 16

queries = load_queries(__file__, "credential.sql")


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as it may be shown: never itself."""

    name: str
    last_four: str | None
    base_url: str | None
    set_at: datetime


class TooManyCredentials(Conflict):
    """The organization has as many provider keys as it may have; remove one that is not used."""

    code = "too_many_credentials"


async def put(
    connection: asyncpg.Connection,
    sealer: Sealer,
    *,
    owner: str,
    name: str,
    secret: str,
    base_url: str | None = None,
    by: str = "process",
) -> None:
    """Store a secret, or replace the one of this name. `owner` is an organization's id, or "operator"."""
    if not secret or not (secret.isascii() and secret.isprintable()):
        # It is going to be an HTTP header; refused here, it cannot break, or smuggle, one there.
        raise InvalidInput("secret", "must be printable ASCII text")
    if not is_text_id(owner) or not is_text_id(name):
        raise InvalidInput("name", "must be printable ASCII text of at most 64 characters")
    key_id, sealed = sealer.seal(secret.encode(), _place(owner, name, base_url))
    last_four = secret[-4:] if len(secret) >= _SHOWN_FROM_CHARS else None
    async with connection.transaction():
        if owner != OPERATOR:
            await lock_organization(connection, owner)
            if await queries.count_others(connection, owner=owner, name=name) >= EACH_MAX:
                raise TooManyCredentials(f"An organization can have {EACH_MAX} provider keys.")
        before = await queries.find_credential(connection, owner=owner, name=name)
        await queries.upsert_credential(
            connection, owner=owner, name=name, key_id=key_id, sealed=sealed, last_four=last_four, base_url=base_url
        )
        after = {"last_four": last_four, "base_url": base_url}
        await _record(connection, "credential.set", owner, name, by, before=before and _shown(before), after=after)


async def get(connection: asyncpg.Connection, sealer: Sealer, *, owner: str, name: str) -> str | None:
    """The secret, or None where there is none; raises SealBroken for one that was sealed in another place."""
    row = await queries.find_credential(connection, owner=owner, name=name)
    return None if row is None else _open(sealer, owner, name, row)


async def list_shown(connection: asyncpg.Connection, *, owner: str) -> Sequence[Credential]:
    """What the owner has, by name, as it may be shown."""
    return [
        Credential(name=row["name"], set_at=row["created_at"], **_shown(row))
        async for row in queries.credentials_of(connection, owner=owner)
    ]


async def remove(connection: asyncpg.Connection, *, owner: str, name: str, by: str = "process") -> None:
    """Forget a secret; raises NotFound where there is none."""
    async with connection.transaction():
        row = await queries.delete_credential(connection, owner=owner, name=name) if is_text_id(name) else None
        if row is None:
            raise NotFound("There is no such credential.")
        await _record(connection, "credential.removed", owner, name, by, before=_shown(row))


def _open(sealer: Sealer, owner: str, name: str, row: asyncpg.Record) -> str:
    return sealer.open(row["key_id"], row["sealed"], _place(owner, name, row["base_url"])).decode()


def _shown(row: asyncpg.Record) -> dict[str, str | None]:
    return {"last_four": row["last_four"], "base_url": row["base_url"]}


async def _record(
    connection: asyncpg.Connection,
    act: str,
    owner: str,
    name: str,
    by: str,
    *,
    before: audit.State = None,
    after: audit.State = None,
) -> None:
    organization = None if owner == OPERATOR else owner
    await audit.record(connection, act, by=by, subject=name, organization=organization, before=before, after=after)


def _place(owner: str, name: str, base_url: str | None) -> str:
    # NUL cannot be in any of them, so no two rows have one place.
    return "\0".join(["credential", owner, name, *([] if base_url is None else [base_url])])
