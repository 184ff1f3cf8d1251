"""Charges for metered work, for services: held before the work, settled or released after it."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from tallystick.api import tier_documentation as documentation
from tallystick.api.dependencies import Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.unambiguous import UNAMBIGUOUS

router = APIRouter(prefix="/api/usage", tags=["metered work"], dependencies=[UNAMBIGUOUS])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReserveBody(_Body):
    user_id: str
    meter: str
    quantity: int
    feature: str | None = None
    request_id: str | None = None
    lasts_s: int = 3600


class SettleBody(_Body):
    user_id: str
    id: str
    quantity: int | None = None


class ReleaseBody(_Body):
    user_id: str
    id: str


@router.post("/reserve", openapi_extra=documentation.TOKEN, responses=documentation.RESERVE)
async def reserve(body: ReserveBody, request: Request, dependencies: Dependencies) -> Response:
    """Hold what metered work can come to at most, or refuse it. The same `request_id` holds it once."""
    dependencies.accepted_services.check(request.headers)
    held = await dependencies.tally.reserve(
        body.user_id,
        body.meter,
        body.quantity,
        feature=body.feature,
        request_id=body.request_id,
        lasts_s=body.lasts_s,
    )
    return ExactJSON(held)


@router.post("/settle", openapi_extra=documentation.TOKEN, responses=documentation.SETTLE)
async def settle(body: SettleBody, request: Request, dependencies: Dependencies) -> Response:
    """End the work with the `quantity` that was really used; without one, with all of it."""
    dependencies.accepted_services.check(request.headers)
    return ExactJSON(await dependencies.tally.settle(body.user_id, body.id, body.quantity))


@router.post("/release", openapi_extra=documentation.TOKEN, responses=documentation.RELEASE)
async def release(body: ReleaseBody, request: Request, dependencies: Dependencies) -> Response:
    """Give everything back that was held."""
    dependencies.accepted_services.check(request.headers)
    await dependencies.tally.release(body.user_id, body.id)
    return ExactJSON({"released": True})
