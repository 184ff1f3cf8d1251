"""API keys of an organization: /api/keys. A key's secret is in one answer only, the one that made it."""

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tallystick.accounts import api_key
from tallystick.accounts.api_key import ApiKey, Scope
from tallystick.accounts.member import Permission, require
from tallystick.api.dependencies import Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.signed_in import CurrentMember
from tallystick.api.unambiguous import UNAMBIGUOUS
from tallystick.ledger.audit import unnamed

router = APIRouter(prefix="/api/keys", tags=["keys"])


class CreateKeyBody(BaseModel):
    # A caller who sends an organization or a role expects it to count: refused, not ignored.
    model_config = ConfigDict(extra="forbid")

    name: str
    expires_at: AwareDatetime | None = None
    scopes: Annotated[list[Scope], Field(max_length=10)] = []


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyAnswer(KeyAnswer, frozen=True, kw_only=True):
    key: str


class KeysAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`next` is the `before` of the next page, null at the end."""

    keys: list[KeyAnswer]
    next: str | None


@router.get("")
async def list_keys(
    current: CurrentMember,
    dependencies: Dependencies,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> Response:
    """The organization's keys, the newest first, without their secrets. Every member may look."""
    keys = await api_key.of_organization(dependencies.pool, current.organization, before=before, limit=limit)
    following = keys[-1].id if len(keys) == limit else None
    return ExactJSON(KeysAnswer(keys=[_shown(key) for key in keys], next=following))


@router.post("", status_code=201, dependencies=[UNAMBIGUOUS])
async def create_key(body: CreateKeyBody, current: CurrentMember, dependencies: Dependencies) -> Response:
    """A new key. `key` in the answer is the secret, shown this once. With the scope `billing`, which needs that
    permission, it may also use `/api/billing/*`."""
    require(current.role, Permission.KEYS)
    async with dependencies.pool.acquire() as connection:
        made = await api_key.create(
            connection,
            organization=current.organization,
            name=body.name,
            expires_at=body.expires_at,
            scopes=body.scopes,
            by=current.user_id,
        )
    return ExactJSON(
        msgspec.convert({**msgspec.structs.asdict(made.key), "key": made.secret}, NewKeyAnswer), status_code=201
    )


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: str, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Revoke a key: within a second no process accepts it. Another organization's key is not found."""
    require(current.role, Permission.KEYS)
    async with dependencies.pool.acquire() as connection:
        await api_key.revoke(connection, organization=current.organization, key=key_id, by=current.user_id)
    return Response(status_code=204)


def _shown(key: ApiKey) -> KeyAnswer:
    by = key.created_by and unnamed(key.created_by)
    return msgspec.convert({**msgspec.structs.asdict(key), "created_by": by}, KeyAnswer)
