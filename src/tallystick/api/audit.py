"""The audit log of an organization: /api/audit. Who did what about its billing, when, from where, and what changed."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from tallystick.api.billing_caller import CurrentBillingCaller
from tallystick.api.dependencies import Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.ledger.audit_log import Filter, for_customers, newest
from tallystick.library.inputs import sequence_number

router = APIRouter(prefix="/api/audit", tags=["audit log"])


@router.get("")
async def read_audit_log(
    caller: CurrentBillingCaller,
    dependencies: Dependencies,
    act: str | None = None,
    subject: str | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """What was done, the newest first; `by` whom, which is `operator` for whoever runs this server. `act` may be a
    pattern such as `order.*`; `next_cursor` asks for the next page. `block_hash` names the block of the hash chain that
    vouches for an event; it is null for the first second."""
    wanted = Filter(organization=caller.organization, act=act, subject=subject, since=since, until=until)
    async with dependencies.pool.acquire() as connection:
        # One more than asked for tells whether there is a next page.
        found = await newest(connection, wanted, before=sequence_number(cursor), limit=limit + 1)
    page = found[:limit]
    following = str(page[-1].seq) if len(found) > limit else None
    return ExactJSON({"events": [for_customers(event) for event in page], "next_cursor": following})
