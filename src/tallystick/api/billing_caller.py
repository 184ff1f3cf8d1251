"""Who asks about an organization's billing: a program with a key of the billing scope, or a member who may."""

from typing import Annotated

import msgspec
from fastapi import Depends, Request

from tallystick.accounts.api_key import Scope
from tallystick.accounts.member import Permission, require
from tallystick.accounts.organization import OrganizationSuspended
from tallystick.api.dependencies import Dependencies
from tallystick.api.presented_key import presented_key
from tallystick.api.signed_in import signed_in
from tallystick.base.errors import Forbidden, NotFound


class BillingCaller(msgspec.Struct, frozen=True, kw_only=True):
    """`asked_by` is a user's id or, where a program asks, the id of its key."""

    organization: str
    account: int
    asked_by: str


class MissingScope(Forbidden):
    """This API key may call the gateway, and was not made for this."""

    code = "missing_scope"


async def billing_caller(request: Request, dependencies: Dependencies) -> BillingCaller:
    """Raises Unauthorized for nobody, Forbidden for who may not, NotFound for an organization of others."""
    secret = presented_key(request)
    if secret is None:
        current = await signed_in(request, dependencies)
        require(current.role, Permission.BILLING)
        return BillingCaller(organization=current.organization, account=current.account, asked_by=current.user_id)
    caller = await dependencies.keyring.caller(secret)
    if caller.organization_state != "active":
        raise OrganizationSuspended("This organization is suspended.")
    if request.query_params.get("organization", caller.organization) != caller.organization:
        raise NotFound("There is no such organization.")
    if Scope.BILLING not in caller.scopes:
        raise MissingScope("This API key does not have the billing scope. Make one that has it, or sign in.")
    return BillingCaller(organization=caller.organization, account=caller.account, asked_by=caller.key)


CurrentBillingCaller = Annotated[BillingCaller, Depends(billing_caller)]
