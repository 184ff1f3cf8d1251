"""Webhook endpoints of an organization: where its notices go, which ones, signed by what secret."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.base.ids import is_text_id, text_id
from tallystick.base.sealed import Sealer
from tallystick.ledger import audit
from tallystick.notices.notice_type import check_patterns
from tallystick.notices.signature import new_secret

queries = load_queries(__file__, "endpoint.sql")

ENDPOINTS_MAX: Final = 20
OVERLAP_MAX: Final = timedelta(days=7)
_DESCRIPTION_MAX: Final = 200


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """As its owner is shown it, too. `failing_since` is when the attempts began to fail that have not succeeded since;
    `previous_until` how long the secret before the last rotation still signs beside the new one."""

    id: str
    organization: str
    url: str
    types: list[str]
    description: str
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    previous_until: datetime | None
    created_at: datetime


class NewEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The secret is shown this once."""

    endpoint: Endpoint
    secret: str


async def create(
    connection: asyncpg.Connection,
    sealer: Sealer,
    *,
    organization: str,
    url: str,
    types: Sequence[str],
    description: str = "",
    by: str,
) -> NewEndpoint:
    """The caller has had the URL vetted. Raises InvalidInput, Conflict where the organization has enough of them."""
    id_, secret = text_id("whe"), new_secret()
    key_id, sealed = sealer.seal(secret.encode(), _place(id_))
    patterns, words = check_patterns(types), _check_description(description)
    async with connection.transaction():
        row = await queries.insert(
            connection,
            id=id_,
            organization=organization,
            url=url,
            types=patterns,
            description=words,
            key_id=key_id,
            sealed=sealed,
            most=ENDPOINTS_MAX,
        )
        if row is None:
            raise Conflict(f"An organization has at most {ENDPOINTS_MAX} webhooks; delete one first.")
        made = _endpoint(row)
        await _audit(connection, "webhook.created", by, made, after=made)
    return NewEndpoint(endpoint=made, secret=secret)


async def of_organization(connection: asyncpg.Connection, organization: str) -> Sequence[Endpoint]:
    """All of them, the oldest first."""
    return [_endpoint(row) async for row in queries.of_organization(connection, organization=organization)]


async def find(connection: asyncpg.Connection, organization: str, id_: str) -> Endpoint:
    """Raises NotFound, also for one of somebody else."""
    row = await queries.find(connection, organization=organization, id=id_) if is_text_id(id_) else None
    if row is None:
        raise NotFound("There is no such webhook.")
    return _endpoint(row)


async def owner(connection: asyncpg.Connection, id_: str) -> str:
    """The organization of an endpoint, for an operator, who may see all. Raises NotFound."""
    found: str | None = await queries.owner(connection, id=id_) if is_text_id(id_) else None
    if found is None:
        raise NotFound("There is no such webhook.")
    return found


async def change(
    connection: asyncpg.Connection, organization: str, id_: str, changes: Mapping[str, object], *, by: str
) -> Endpoint:
    """Set some of url, types, description and enabled. What waits for one that is disabled has failed: a replay sends
    it. Raises NotFound, InvalidInput."""
    async with connection.transaction():
        await queries.lock(connection, organization=organization, id=id_ if is_text_id(id_) else "")
        before = await find(connection, organization, id_)
        after = msgspec.structs.replace(before, **changes)
        after = msgspec.structs.replace(
            after,
            types=check_patterns(after.types),
            description=_check_description(after.description),
            disabled_reason=None if after.enabled else before.disabled_reason,
            # One that is enabled again, or goes elsewhere, gets all the days it has for failing.
            failing_since=before.failing_since if (before.url, before.enabled) == (after.url, after.enabled) else None,
        )
        await queries.update(
            connection,
            id=id_,
            url=after.url,
            types=after.types,
            description=after.description,
            enabled=after.enabled,
            disabled_reason=after.disabled_reason,
            failing_since=after.failing_since,
        )
        if not after.enabled:
            await queries.give_up(connection, id=id_)
        await _audit(connection, "webhook.changed", by, after, before=before, after=after)
    return after


async def remove(connection: asyncpg.Connection, organization: str, id_: str, *, by: str) -> None:
    """Forget the endpoint and what was sent to it. Raises NotFound."""
    async with connection.transaction():
        before = await find(connection, organization, id_)
        await queries.delete(connection, id=id_)
        await _audit(connection, "webhook.deleted", by, before, before=before)


async def rotate(
    connection: asyncpg.Connection, sealer: Sealer, organization: str, id_: str, *, overlap: timedelta, by: str
) -> NewEndpoint:
    """A new secret. For `overlap` the present one signs beside it, so that receivers can change theirs meanwhile.

    Raises NotFound, InvalidInput."""
    if not timedelta(0) <= overlap <= OVERLAP_MAX:
        raise InvalidInput("overlap_hours", f"must be between 0 and {OVERLAP_MAX // timedelta(hours=1)}")
    secret = new_secret()
    async with connection.transaction():
        before = await find(connection, organization, id_)
        key_id, sealed = sealer.seal(secret.encode(), _place(id_))
        row = await queries.rotate(connection, id=id_, key_id=key_id, sealed=sealed, overlap=overlap)
        if row is None:
            raise NotFound("There is no such webhook.")
        after = _endpoint(row)
        await _audit(connection, "webhook.rotated", by, after, before=before, after=after)
    return NewEndpoint(endpoint=after, secret=secret)


async def disable(connection: asyncpg.Connection, id_: str, reason: str) -> None:
    """Because it does not take what it is sent. In the caller's transaction."""
    before = _endpoint(await queries.disable(connection, id=id_, reason=reason))
    await queries.give_up(connection, id=id_)
    after = msgspec.structs.replace(before, enabled=False, disabled_reason=reason)
    await _audit(connection, "webhook.disabled", "clock", after, before=before, after=after)


def signers(sealer: Sealer, row: Mapping[str, object]) -> Sequence[str]:
    """The secrets that sign now, of a row that has the sealed ones. Raises SealBroken, Misconfigured."""
    place = _place(str(row["endpoint"]))
    found = [(row["key_id"], row["sealed"]), (row["previous_key_id"], row["previous_sealed"])]
    return [
        sealer.open(key_id, sealed, place).decode()
        for key_id, sealed in found
        if isinstance(key_id, str) and isinstance(sealed, bytes)
    ]


def _place(id_: str) -> str:
    return f"webhook\0{id_}"


def _check_description(text: str) -> str:
    if len(text) > _DESCRIPTION_MAX or not (text.isprintable() or not text):
        raise InvalidInput("description", f"must be printable text of at most {_DESCRIPTION_MAX} characters")
    return text


def _endpoint(row: asyncpg.Record) -> Endpoint:
    return msgspec.convert(dict(row), Endpoint)


async def _audit(
    connection: asyncpg.Connection,
    act: str,
    by: str,
    about: Endpoint,
    *,
    before: Endpoint | None = None,
    after: Endpoint | None = None,
) -> None:
    await audit.record(
        connection,
        act,
        by=by,
        subject=about.id,
        organization=about.organization,
        before=_told(before),
        after=_told(after),
    )


def _told(endpoint: Endpoint | None) -> Mapping[str, object] | None:
    if endpoint is None:
        return None
    # Behind the question mark many receivers want a secret of theirs.
    told = {"url": endpoint.url.partition("?")[0], "types": endpoint.types, "description": endpoint.description}
    return {**told, "enabled": endpoint.enabled, "previous_until": endpoint.previous_until}
