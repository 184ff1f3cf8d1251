"""Provider secrets at rest, sealed and bound to the row they are in."""

from collections.abc import Mapping

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import InvalidInput, NotFound
from tallystick.base.ids import is_text_id
from tallystick.base.sealed import Sealer

queries = load_queries(__file__, "credential.sql")


async def set(  # noqa: A001 - callers read credential.set(...)
    connection: asyncpg.Connection, sealer: Sealer, *, owner: str, name: str, secret: str
) -> None:
    """Store a secret, or replace the one of this name. `owner` is an organization's id, or "operator"."""
    if not secret or not (secret.isascii() and secret.isprintable()):
        # It is going to be an HTTP header; refused here, it cannot break, or smuggle, one there.
        raise InvalidInput("secret", "must be printable ASCII text")
    if not is_text_id(owner) or not is_text_id(name):
        raise InvalidInput("name", "must be printable ASCII text of at most 64 characters")
    key_id, sealed = sealer.seal(secret.encode(), _place(owner, name))
    await queries.upsert_credential(connection, owner=owner, name=name, key_id=key_id, sealed=sealed)


async def get(connection: asyncpg.Connection, sealer: Sealer, *, owner: str, name: str) -> str | None:
    """The secret, or None where there is none; raises SealBroken for one that was sealed in another place."""
    row = await queries.find_credential(connection, owner=owner, name=name)
    return None if row is None else sealer.open(row["key_id"], row["sealed"], _place(owner, name)).decode()


async def get_all(connection: asyncpg.Connection, sealer: Sealer, *, owner: str) -> Mapping[str, str]:
    """Every secret of the owner, by name."""
    rows = [row async for row in queries.credentials_of(connection, owner=owner)]
    return {row["name"]: sealer.open(row["key_id"], row["sealed"], _place(owner, row["name"])).decode() for row in rows}


async def remove(connection: asyncpg.Connection, *, owner: str, name: str) -> None:
    """Forget a secret; raises NotFound where there is none."""
    if not await queries.delete_credential(connection, owner=owner, name=name):
        raise NotFound("There is no such credential.")


def _place(owner: str, name: str) -> str:
    # NUL cannot be in either, so no two rows have one place.
    return f"credential\0{owner}\0{name}"
