"""Usage of products without our gateway: services report it, customers read it beside what the gateway recorded."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tallystick.accounts.organization import resolve_payer
from tallystick.api import usage_documentation as documentation
from tallystick.api.dependencies import Dependencies
from tallystick.api.errors import error_body
from tallystick.api.exact_json import ExactJSON
from tallystick.api.tier import Reader
from tallystick.base import strict_json
from tallystick.base.errors import InvalidInput
from tallystick.base.money import format_amount
from tallystick.metering.record import Recorded, Refused, record_events
from tallystick.metering.report import usage_report
from tallystick.metering.shown import as_csv, as_json

router = APIRouter(prefix="/api/usage", tags=["usage"])


@router.post("/events", openapi_extra=documentation.EVENTS_BODY, responses=documentation.EVENTS)
async def events(request: Request, dependencies: Dependencies) -> Response:
    """Report what was used, up to 1,000 events at once. Each counts once, however often it is sent, and has its own
    answer, in the order given."""
    # Services only: whoever may report usage of their own could report less.
    dependencies.accepted_services.check(request.headers)
    given = strict_json.loads(await request.body())
    told = given.pop("events", None)
    if given:
        name = min(given)
        raise InvalidInput(name if name.isprintable() else "body", "is not a field of this request")
    if not isinstance(told, list):
        raise InvalidInput("events", "must be a list")
    answers = await record_events(
        dependencies.pool,
        told,
        meters=dependencies.book().meters,
        constraints_of=dependencies.constraints.find,
        lateness=dependencies.lateness,
    )
    refused = sum(isinstance(one, Refused) for one in answers)
    return ExactJSON(
        {"results": [_result(one) for one in answers], "succeeded": len(answers) - refused, "failed": refused}
    )


@router.get("", responses=documentation.USAGE)
async def usage(
    who: Reader,
    dependencies: Dependencies,
    from_: Annotated[str | None, Query(alias="from")] = None,
    to: str | None = None,
    group_by: str = "meter",
    meter: str | None = None,
    form: Annotated[str, Query(alias="format")] = "json",
) -> Response:
    """What was used by meter, and by day, key or model: in the current billing period, or from a time to before
    another. `format=csv` gives a table."""
    if form not in {"json", "csv"}:
        raise InvalidInput("format", "must be json or csv")
    async with dependencies.pool.acquire() as connection:
        organization, account = await resolve_payer(connection, who)
    rule = (await dependencies.constraints.find(organization)).period
    with dependencies.reports.one_of(organization):
        async with dependencies.pool.acquire() as connection:
            report = await usage_report(connection, account, rule, from_=from_, to=to, group_by=group_by, meter=meter)
    if form == "csv":
        headers = {"content-disposition": f'attachment; filename="usage-{report.span.starts_at:%Y-%m-%d}.csv"'}
        return Response(as_csv(report), media_type="text/csv; charset=utf-8", headers=headers)
    return ExactJSON({"organization": organization, **as_json(report)})


def _result(one: Recorded | Refused) -> dict[str, object]:
    if isinstance(one, Refused):
        return {"id": one.id, "outcome": "refused", "status": one.error.status, "error": error_body(one.error)}
    return {
        "id": one.id,
        "outcome": one.outcome,
        "at": one.at,
        "period": {"from": one.starts_at, "to": one.ends_at},
        "late": one.late,
        "units": one.increase,
        "over_cap": one.over_cap,
        "charge": format_amount(one.charge),
    }
