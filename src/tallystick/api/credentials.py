"""An organization's own provider keys: /api/credentials. They go in, and never out again."""

from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from tallystick.accounts import credential
from tallystick.accounts.member import Permission, require
from tallystick.accounts.provider_address import check_base_url
from tallystick.api.dependencies import ApiDependencies, Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.signed_in import CurrentMember
from tallystick.api.unambiguous import UNAMBIGUOUS
from tallystick.base.errors import InvalidInput, Unavailable
from tallystick.base.sealed import Sealer

router = APIRouter(prefix="/api/credentials", tags=["provider keys"])

_NAME: Final = r"^[a-z0-9][a-z0-9_.-]{0,62}$"


class CredentialsClosed(Unavailable):
    """This server keeps no provider keys: its operator has not set TALLYSTICK_SEALING_KEYS."""

    code = "credentials_closed"


class ProviderBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    apiKey: Annotated[str, Field(min_length=8, max_length=1000)]  # noqa: N815 - as it stands in the JSON
    baseUrl: str | None = None  # noqa: N815


class ProvidersBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    providers: Annotated[
        dict[Annotated[str, Field(pattern=_NAME)], ProviderBody],
        Field(min_length=1, max_length=credential.EACH_MAX),
    ]


class ProviderAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`last_four` is null where the key is so short that they would tell too much."""

    last_four: str | None
    base_url: str | None
    set_at: datetime


@router.get("")
async def read(current: CurrentMember, dependencies: Dependencies) -> Response:
    """Which providers the organization has a key of its own for: its last four characters, and since when."""
    require(current.role, Permission.KEYS)
    return ExactJSON(await _answer(dependencies, current.organization))


@router.put("", dependencies=[UNAMBIGUOUS])
async def set_keys(body: ProvidersBody, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Set or replace the keys of the providers that are named; others stay as they are. A `baseUrl` must be an https
    address of the public internet."""
    require(current.role, Permission.KEYS)
    sealer = _sealer(dependencies)
    own_host = urlsplit(dependencies.public_url).hostname or ""
    checked = []
    for name, given in body.providers.items():
        if not (given.apiKey.isascii() and given.apiKey.isprintable()):
            raise InvalidInput(f"providers.{name}.apiKey", "must be printable ASCII text")
        base_url = given.baseUrl
        if base_url is not None:
            base_url = await check_base_url(
                base_url, f"providers.{name}.baseUrl", own_host=own_host, fence=dependencies.provider_fence
            )
        checked.append((name, given.apiKey, base_url))
    async with dependencies.pool.acquire() as connection, connection.transaction():
        for name, secret, base_url in checked:
            await credential.put(
                connection,
                sealer,
                owner=current.organization,
                name=name,
                secret=secret,
                base_url=base_url,
                by=current.user_id,
            )
    return ExactJSON(await _answer(dependencies, current.organization))


@router.delete("/{provider}", status_code=204)
async def remove(provider: str, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Forget the key of one provider."""
    require(current.role, Permission.KEYS)
    async with dependencies.pool.acquire() as connection:
        await credential.remove(connection, owner=current.organization, name=provider, by=current.user_id)
    return Response(status_code=204)


async def _answer(dependencies: ApiDependencies, organization: str) -> dict[str, object]:
    async with dependencies.pool.acquire() as connection:
        found = await credential.list_shown(connection, owner=organization)
    return {
        "providers": {
            one.name: ProviderAnswer(last_four=one.last_four, base_url=one.base_url, set_at=one.set_at) for one in found
        }
    }


def _sealer(dependencies: ApiDependencies) -> Sealer:
    if dependencies.sealer is None:
        raise CredentialsClosed("This server keeps no provider keys: its operator has set no sealing key.", 60)
    return dependencies.sealer
