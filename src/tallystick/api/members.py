"""Members of an organization: /api/members. Owners and admins change them; anybody may leave."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from tallystick.accounts import membership
from tallystick.accounts.member import Role
from tallystick.api.dependencies import Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.signed_in import CurrentMember
from tallystick.api.unambiguous import UNAMBIGUOUS

router = APIRouter(prefix="/api/members", tags=["members"])


class RoleBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role


@router.get("")
async def list_members(
    current: CurrentMember,
    dependencies: Dependencies,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> Response:
    """Who belongs to the organization, and in which role. Every member may look. `next` is the `after` of the next
    page."""
    async with dependencies.pool.acquire() as connection:
        found = await membership.list_members(connection, current.organization, after=after, limit=limit)
    return ExactJSON({"members": found, "next": found[-1].user_id if len(found) == limit else None})


@router.patch("/{user_id}", dependencies=[UNAMBIGUOUS])
async def change_role(user_id: str, body: RoleBody, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Give a member another role. Only owners make owners, or change one; the last owner stays one. Keys that they
    made lose what they may not do any more."""
    async with dependencies.pool.acquire() as connection:
        await membership.change_role(connection, current.organization, user_id, body.role, by=current.user_id)
    return ExactJSON({"user_id": user_id, "role": body.role})


@router.delete("/{user_id}", status_code=204)
async def remove(user_id: str, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Remove a member; with your own id, leave. Nobody leaves their personal organization."""
    async with dependencies.pool.acquire() as connection:
        await membership.remove(connection, current.organization, user_id, by=current.user_id)
    return Response(status_code=204)
