"""What happens when credits run low: automatic top-ups (/api/top-up), and who is told (/api/balance-alerts)."""

from datetime import timedelta
from typing import Final

from fastapi import APIRouter, Request, Response

from tallystick.api import orders_documentation as documentation
from tallystick.api.billing_caller import CurrentBillingCaller
from tallystick.api.dependencies import ApiDependencies, Dependencies
from tallystick.api.exact_fields import amount, exact_fields, flag
from tallystick.api.exact_json import ExactJSON
from tallystick.base.errors import InvalidInput
from tallystick.base.money import from_minor, parse_amount, to_decimal
from tallystick.library.inputs import text
from tallystick.payments.orders import balance_alert
from tallystick.payments.orders.order import Buyer
from tallystick.payments.orders.top_up import (
    Wanted,
    charged_this_month,
    find_top_up,
    remove_top_up,
    set_top_up,
    shown,
)

router = APIRouter(prefix="/api", tags=["top-up"])

_FIELDS: Final = {"threshold", "amount", "monthly_max", "cool_down_s", "enabled", "payment_method"}
_COOL_DOWN_S: Final = 600
_SECONDS_MAX: Final = 10**9


@router.get("/top-up", responses=documentation.TOP_UP)
async def read(caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """What is agreed: null where nothing is charged by itself."""
    return await _answer(dependencies, caller.organization)


@router.put("/top-up", openapi_extra=documentation.TOP_UP_BODY, responses=documentation.TOP_UP)
async def write(request: Request, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """Have the saved card charged whenever less than `threshold` can be spent. It ends a standstill, too."""
    given = exact_fields(await request.body(), _FIELDS)
    cool_down_s = given.get("cool_down_s", _COOL_DOWN_S)
    if isinstance(cool_down_s, bool) or not isinstance(cool_down_s, int) or not 0 <= cool_down_s <= _SECONDS_MAX:
        raise InvalidInput("cool_down_s", "must be whole seconds")
    method = given.get("payment_method")
    await set_top_up(
        dependencies.pool,
        dependencies.stripe,
        dependencies.terms,
        Buyer(organization=caller.organization, account=caller.account, user_id=caller.asked_by),
        Wanted(
            threshold=amount(given, "threshold"),
            amount=amount(given, "amount"),
            monthly_max=amount(given, "monthly_max"),
            cool_down=timedelta(seconds=cool_down_s),
            enabled=flag(given, "enabled", default=True),
            payment_method=None if method is None else text(method, "payment_method"),
        ),
    )
    return await _answer(dependencies, caller.organization)


@router.delete("/top-up", status_code=204)
async def remove(caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """Have nothing charged by itself any more."""
    await remove_top_up(dependencies.pool, caller.organization, by=caller.asked_by)
    return Response(status_code=204)


@router.get("/balance-alerts", responses=documentation.ALERTS)
async def read_alerts(caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """At which balances the organization is told, the highest first."""
    found = await balance_alert.thresholds(dependencies.pool, caller.organization)
    return ExactJSON({"thresholds": [to_decimal(nano) for nano in found]})


@router.put("/balance-alerts", openapi_extra=documentation.ALERTS_BODY, responses=documentation.ALERTS)
async def write_alerts(request: Request, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """Be told by `balance.low`, and by mail to those who see to billing, once each time the balance falls below one of
    these; [] for never."""
    given = exact_fields(await request.body(), {"thresholds"}).get("thresholds")
    if not isinstance(given, list):
        raise InvalidInput("thresholds", "must be a list of numbers")
    after = await balance_alert.set_thresholds(
        dependencies.pool,
        caller.organization,
        caller.account,
        [parse_amount(None if isinstance(one, str) else one, "thresholds") for one in given],
        by=caller.asked_by,
    )
    return ExactJSON({"thresholds": [to_decimal(nano) for nano in after]})


async def _answer(dependencies: ApiDependencies, organization: str) -> Response:
    found = await find_top_up(dependencies.pool, organization)
    if found is None:
        return ExactJSON({"top_up": None})
    charged = to_decimal(from_minor(await charged_this_month(dependencies.pool, organization)))
    return ExactJSON({"top_up": {**shown(found), "charged_this_month": charged}})
