"""Tiers and quotas: /api/tier/*. Customers read how they stand; services count uses for applications that gate."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from tallystick.accounts.organization import OrganizationSuspended
from tallystick.api import tier_documentation as documentation
from tallystick.api.dependencies import Dependencies
from tallystick.api.errors import error_body
from tallystick.api.exact_json import ExactJSON
from tallystick.api.payer import payer
from tallystick.api.presented_key import presented_key
from tallystick.api.service_token import HEADERS
from tallystick.api.unambiguous import UNAMBIGUOUS
from tallystick.base.errors import NotFound, QuotaExceeded
from tallystick.library.tier_refusal import refusal_headers

router = APIRouter(prefix="/api/tier", tags=["tiers"])


async def reader(request: Request, dependencies: Dependencies, user_id: str | None = None) -> str:
    """Whose quotas are read: a service names a user, a key speaks for its organization, a session for a member."""
    secret = presented_key(request)
    if secret is None or any(name in request.headers for name in HEADERS):
        return (await payer(request, dependencies, user_id)).id
    caller = await dependencies.keyring.caller(secret)
    if caller.organization_state != "active":
        raise OrganizationSuspended("This organization is suspended.")
    if user_id not in {None, caller.organization}:
        raise NotFound("There is no such user or organization.")
    return caller.organization


Reader = Annotated[str, Depends(reader)]


class _Body(BaseModel):
    # A misspelt request_id that was passed over would count twice, one day.
    model_config = ConfigDict(extra="forbid", strict=True)


class UseBody(_Body):
    user_id: str
    feature: str
    units: int = 1
    request_id: str | None = None


class GiveBackBody(_Body):
    user_id: str
    id: str


@router.get("/usage", responses=documentation.USAGE)
async def usage(who: Reader, dependencies: Dependencies) -> Response:
    """How often each feature was used in the 30 days that end now; null is unlimited."""
    found = await dependencies.tally.usage(who)
    return ExactJSON(
        {
            "tier": found.tier,
            "usage": found.usage,
            "period_start": found.period_start.replace(microsecond=0),
            "period_end": found.period_end.replace(microsecond=0),
        }
    )


@router.get("/check", responses=documentation.CHECK)
async def check(
    who: Reader, dependencies: Dependencies, feature: str, units: Annotated[int, Query(ge=1)] = 1
) -> Response:
    """Whether the next use of a feature would be admitted. It counts nothing."""
    return ExactJSON(await dependencies.tally.check(who, feature, units))


@router.post("/use", dependencies=[UNAMBIGUOUS], openapi_extra=documentation.TOKEN, responses=documentation.USE)
async def use(body: UseBody, request: Request, dependencies: Dependencies) -> Response:
    """Count the use of a feature before it happens, for a service. The same `request_id` is counted once."""
    dependencies.accepted_services.check(request.headers)
    return ExactJSON(await dependencies.tally.use(body.user_id, body.feature, body.units, body.request_id))


@router.post(
    "/give-back", dependencies=[UNAMBIGUOUS], openapi_extra=documentation.TOKEN, responses=documentation.GIVE_BACK
)
async def give_back(body: GiveBackBody, request: Request, dependencies: Dependencies) -> Response:
    """Take a use that came to nothing out of its window, by the `id` it was counted under."""
    dependencies.accepted_services.check(request.headers)
    await dependencies.tally.give_back(body.user_id, body.id)
    return ExactJSON({"given_back": True})


def answer_used_up(app: FastAPI) -> None:
    """Tell whoever used up a limit when to come back."""
    app.add_exception_handler(QuotaExceeded, _used_up)


async def _used_up(_request: Request, error: Exception) -> Response:
    assert isinstance(error, QuotaExceeded)  # noqa: S101 - registered for this class only
    headers = refusal_headers(error, datetime.now(UTC))
    return ExactJSON({"error": error_body(error)}, status_code=error.status, headers=headers)
