"""Whose credits a request is about: the signed-in person's organization, or whomever a trusted service names."""

from typing import Annotated

import msgspec
from fastapi import Depends, Request

from tallystick.accounts.member import Permission, Role, require
from tallystick.api.dependencies import Dependencies
from tallystick.api.service_token import HEADERS
from tallystick.api.signed_in import signed_in
from tallystick.base.errors import NotFound
from tallystick.library.inputs import text


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is a user's or an organization's; `asked_by` the user on whose behalf it is asked; no role for services."""

    id: str
    asked_by: str
    role: Role | None

    def require_billing(self) -> None:
        if self.role is not None:
            require(self.role, Permission.BILLING)


async def payer(request: Request, dependencies: Dependencies, user_id: str | None = None) -> Payer:
    """A services token counts before a session, and then `?user_id=` says who pays."""
    if any(name in request.headers for name in HEADERS):
        dependencies.accepted_services.check(request.headers)
        named = text(user_id, "user_id")
        return Payer(id=named, asked_by=named, role=None)
    current = await signed_in(request, dependencies)
    if user_id not in {None, current.user_id, current.organization}:
        raise NotFound("There is no such user or organization.")
    return Payer(id=current.organization, asked_by=current.user_id, role=current.role)


CurrentPayer = Annotated[Payer, Depends(payer)]
