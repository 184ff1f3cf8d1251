"""Organizations of a user: /api/organizations. The personal one comes with sign-up, others are created here."""

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict

from tallystick.accounts import member, organization, session, throttle
from tallystick.accounts.member import Permission, Role, require
from tallystick.accounts.session import SignedIn
from tallystick.api.dependencies import ApiDependencies, Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.signed_in import CurrentMember, session_token
from tallystick.api.unambiguous import UNAMBIGUOUS
from tallystick.base.errors import Forbidden, InvalidInput
from tallystick.subscriptions.publish import find_subscriber

router = APIRouter(prefix="/api/organizations", tags=["organizations"])


class OperatorOnly(Forbidden):
    """Only the operator of this server can change this; ask them."""

    code = "operator_only"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    features: dict[str, object] | None = None

    def refuse_features(self) -> None:
        if self.features is not None:
            # Not ignored: who sends it would believe that it counted.
            raise OperatorOnly("Only the operator of this server can change features. Ask them for metered mode.")


class NewBody(_Body):
    name: str


class ChangeBody(_Body):
    name: str | None = None


class Features(msgspec.Struct, frozen=True, kw_only=True):
    metered_enabled: bool


class OrganizationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    state: str
    role: Role
    plan_slug: str = msgspec.field(name="planSlug")
    features: Features
    created_at: datetime


async def _named(organization_id: str, request: Request, dependencies: Dependencies) -> SignedIn:
    """Whoever is signed in, acting for the organization of the path, which is theirs."""
    token = session_token(request, dependencies.public_url)
    return await session.find(dependencies.pool, token, organization=organization_id)


@router.get("")
async def list_mine(current: CurrentMember, dependencies: Dependencies) -> Response:
    """Every organization that you are a member of, and your role in it. `?organization=` acts for another one than
    your personal one, in every route."""
    found = await member.organizations_of(dependencies.pool, current.user_id)
    return ExactJSON({"organizations": found})


@router.post("", dependencies=[UNAMBIGUOUS], status_code=201)
async def create(body: NewBody, current: CurrentMember, dependencies: Dependencies) -> Response:
    """A new organization, of which you are the owner, with an account, a plan and members of its own."""
    body.refuse_features()
    await throttle.count(dependencies.pool, throttle.ORGANIZATIONS_BY_USER, current.user_id)
    async with dependencies.pool.acquire() as connection, connection.transaction():
        made = await organization.create(connection, name=body.name, by=current.user_id)
        await member.add(connection, organization=made.id, user_id=current.user_id, role=Role.OWNER, by=current.user_id)
    return ExactJSON(await _answer(dependencies, made.id, Role.OWNER), status_code=201)


@router.get("/{organization_id}")
async def read(named: Annotated[SignedIn, Depends(_named)], dependencies: Dependencies) -> Response:
    """One of your organizations: its name, your role, the plan in force and what the operator enabled."""
    return ExactJSON(await _answer(dependencies, named.organization, named.role))


@router.patch("/{organization_id}", dependencies=[UNAMBIGUOUS])
async def change(body: ChangeBody, named: Annotated[SignedIn, Depends(_named)], dependencies: Dependencies) -> Response:
    """Rename it. `features` are the operator's to change, and refused."""
    require(named.role, Permission.MEMBERS)
    body.refuse_features()
    if body.name is None:
        raise InvalidInput("name", "must be given")
    async with dependencies.pool.acquire() as connection:
        await organization.rename(connection, named.organization, name=body.name, by=named.user_id)
    return ExactJSON(await _answer(dependencies, named.organization, named.role))


async def _answer(dependencies: ApiDependencies, organization_id: str, role: Role) -> OrganizationAnswer:
    async with dependencies.pool.acquire() as connection:
        found = await organization.find(connection, organization_id)
        subscriber = await find_subscriber(connection, organization_id)
    return OrganizationAnswer(
        id=found.id,
        name=found.name,
        state=found.state,
        role=role,
        plan_slug=subscriber.plan.slug,
        features=Features(metered_enabled=subscriber.overrides.metered_enabled),
        created_at=found.created_at,
    )
