"""Invitations to an organization: /api/invitations. Their links go out by mail and lead to a page of ours."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from tallystick.accounts import invitation, throttle
from tallystick.accounts.email_address import normalize_email
from tallystick.accounts.member import Permission, Role, require
from tallystick.api.dependencies import Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.signed_in import CurrentMember
from tallystick.api.unambiguous import UNAMBIGUOUS

router = APIRouter(prefix="/api/invitations", tags=["invitations"])


class InviteBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: str
    role: Role


class AcceptBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    token: str


@router.get("")
async def list_open(current: CurrentMember, dependencies: Dependencies) -> Response:
    """Invitations that can still be accepted, the newest first."""
    require(current.role, Permission.MEMBERS)
    async with dependencies.pool.acquire() as connection:
        found = await invitation.list_open(connection, current.organization)
    return ExactJSON({"invitations": found})


@router.post("", dependencies=[UNAMBIGUOUS], status_code=201)
async def invite(body: InviteBody, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Invite an e-mail address, known here or not, in a role that is not above your own. A mail brings a link that
    works once, within seven days; an earlier one to the same address ends."""
    require(current.role, Permission.MEMBERS)
    email = normalize_email(body.email)
    await throttle.count(dependencies.pool, throttle.INVITATIONS_BY_USER, current.user_id)
    await throttle.count(dependencies.pool, throttle.INVITATIONS_TO_EMAIL, f"{current.organization} {email}")
    async with dependencies.pool.acquire() as connection:
        made = await invitation.invite(
            connection,
            current.organization,
            email=email,
            role=body.role,
            by=current.user_id,
            public_url=dependencies.public_url,
        )
    return ExactJSON(made, status_code=201)


@router.delete("/{invitation_id}", status_code=204)
async def revoke(invitation_id: str, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Its link leads nowhere any more."""
    async with dependencies.pool.acquire() as connection:
        await invitation.revoke(connection, current.organization, invitation_id, by=current.user_id)
    return Response(status_code=204)


@router.post("/accept", dependencies=[UNAMBIGUOUS])
async def accept(body: AcceptBody, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Become a member, with the `token` that the link ends with. Your e-mail must be the one that was invited; whoever
    has no account yet sends it with sign-up."""
    async with dependencies.pool.acquire() as connection:
        offer = await invitation.accept(connection, body.token, user_id=current.user_id, email=current.email)
    return ExactJSON({"organization_id": offer.organization, "role": offer.role})
