"""Webhooks of an organization: /api/webhooks. A secret is in the answers that make one only."""

from datetime import timedelta
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tallystick.api.billing_caller import CurrentBillingCaller
from tallystick.api.dependencies import ApiDependencies, Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.id_cursor import id_cursor
from tallystick.api.unambiguous import UNAMBIGUOUS
from tallystick.base.errors import InvalidInput, Unavailable
from tallystick.base.sealed import Sealer
from tallystick.notices import delivery, endpoint
from tallystick.notices.delivery import State
from tallystick.notices.endpoint import Endpoint, NewEndpoint

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

_HOURS: Final = 24


class WebhooksClosed(Unavailable):
    """This server sends no webhooks: its operator has not set TALLYSTICK_SEALING_KEYS."""

    code = "webhooks_closed"


class _Body(BaseModel):
    # A misspelt field that was passed over would be believed to count.
    model_config = ConfigDict(extra="forbid", strict=True)


class CreateBody(_Body):
    url: str
    types: Annotated[list[str], Field(max_length=100)]
    description: str = ""


class ChangeBody(_Body):
    url: str | None = None
    types: Annotated[list[str], Field(max_length=100)] | None = None
    description: str | None = None
    enabled: bool | None = None


class RotateBody(_Body):
    overlap_hours: int = _HOURS


class ReplayBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime


@router.get("")
async def list_webhooks(caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """The organization's webhooks, the oldest first, without their secrets."""
    async with dependencies.pool.acquire() as connection:
        found = await endpoint.of_organization(connection, caller.organization)
    return ExactJSON({"webhooks": [_shown(one) for one in found]})


@router.post("", status_code=201, dependencies=[UNAMBIGUOUS])
async def create_webhook(body: CreateBody, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """A new webhook at an https address for notices of these `types`, such as `order.*`. `secret` in the answer
    verifies what it is sent, and is shown this once."""
    sealer = _sealer(dependencies)
    await dependencies.webhook_fence.vet(body.url)
    async with dependencies.pool.acquire() as connection:
        made = await endpoint.create(
            connection,
            sealer,
            organization=caller.organization,
            url=body.url,
            types=body.types,
            description=body.description,
            by=caller.asked_by,
        )
    return ExactJSON(_shown_once(made), status_code=201)


@router.patch("/{webhook_id}", dependencies=[UNAMBIGUOUS])
async def change_webhook(
    webhook_id: str, body: ChangeBody, caller: CurrentBillingCaller, dependencies: Dependencies
) -> Response:
    """Change where it is, what it gets, or whether it gets anything. What waits for one that is disabled has failed."""
    changes = body.model_dump(exclude_unset=True)
    if not changes:
        raise InvalidInput("body", "must have url, types, description or enabled")
    for name, value in changes.items():
        if value is None:
            raise InvalidInput(name, "must not be null: leave out what is to stay")
    async with dependencies.pool.acquire() as connection:
        await endpoint.find(connection, caller.organization, webhook_id)
    if "url" in changes:
        await dependencies.webhook_fence.vet(changes["url"])
    async with dependencies.pool.acquire() as connection:
        changed = await endpoint.change(connection, caller.organization, webhook_id, changes, by=caller.asked_by)
    return ExactJSON(_shown(changed))


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(webhook_id: str, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """Forget a webhook, and what was sent to it."""
    async with dependencies.pool.acquire() as connection:
        await endpoint.remove(connection, caller.organization, webhook_id, by=caller.asked_by)
    return Response(status_code=204)


@router.post("/{webhook_id}/rotate", dependencies=[UNAMBIGUOUS])
async def rotate_secret(
    webhook_id: str, body: RotateBody, caller: CurrentBillingCaller, dependencies: Dependencies
) -> Response:
    """A new secret, shown this once. The old one signs beside it for `overlap_hours`: 24 unless you say otherwise."""
    sealer, overlap = _sealer(dependencies), timedelta(hours=min(max(body.overlap_hours, -1), 10_000))
    async with dependencies.pool.acquire() as connection:
        made = await endpoint.rotate(
            connection, sealer, caller.organization, webhook_id, overlap=overlap, by=caller.asked_by
        )
    return ExactJSON(_shown_once(made))


@router.post("/{webhook_id}/test", status_code=202)
async def send_test(webhook_id: str, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """Send a message of the type `webhook.test` to this webhook, and to no other. `message` is its id."""
    async with dependencies.pool.acquire() as connection:
        message = await delivery.send_test(connection, caller.organization, webhook_id)
    return ExactJSON({"message": message}, status_code=202)


@router.get("/{webhook_id}/deliveries")
async def list_deliveries(
    webhook_id: str,
    caller: CurrentBillingCaller,
    dependencies: Dependencies,
    state: State | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """What was sent and is to be sent, the newest first, with every attempt: its status, how long it took, and the
    first 200 characters of the answer. `next_cursor` asks for the next page."""
    async with dependencies.pool.acquire() as connection:
        # One more than asked for tells whether there is a next page.
        found = await delivery.of_endpoint(
            connection, caller.organization, webhook_id, state=state, before=id_cursor(cursor, "whd"), limit=limit + 1
        )
    page = found[:limit]
    return ExactJSON({"deliveries": page, "next_cursor": page[-1].id if len(found) > limit else None})


@router.post("/{webhook_id}/replay", dependencies=[UNAMBIGUOUS])
async def replay_since(
    webhook_id: str, body: ReplayBody, caller: CurrentBillingCaller, dependencies: Dependencies
) -> Response:
    """Send again all that this webhook wants of what happened from `since` on: for 90 days back."""
    async with dependencies.pool.acquire() as connection:
        count = await delivery.replay_since(connection, caller.organization, webhook_id, body.since, by=caller.asked_by)
    return ExactJSON({"messages": count})


@router.post("/deliveries/{delivery_id}/replay", status_code=202)
async def replay_delivery(delivery_id: str, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """Send one message again, under the id it had."""
    async with dependencies.pool.acquire() as connection:
        webhook = await delivery.replay(connection, caller.organization, delivery_id, by=caller.asked_by)
    return ExactJSON({"id": delivery_id, "webhook": webhook}, status_code=202)


def _shown(found: Endpoint) -> dict[str, object]:
    """Whose it is, who asks knows."""
    told = msgspec.structs.asdict(found)
    del told["organization"]
    return told


def _shown_once(made: NewEndpoint) -> dict[str, object]:
    return {**_shown(made.endpoint), "secret": made.secret}


def _sealer(dependencies: ApiDependencies) -> Sealer:
    if dependencies.sealer is None:
        raise WebhooksClosed("This server sends no webhooks: its operator has set no sealing key.", 60)
    return dependencies.sealer
