"""The billing API: /api/billing/*. Subscribe through Stripe, look after it in Stripe's portal, see how it stands."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tallystick.api import billing_documentation as documentation
from tallystick.api.billing_caller import CurrentBillingCaller
from tallystick.api.dependencies import ApiDependencies, Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.id_cursor import id_cursor
from tallystick.base import strict_json
from tallystick.base.errors import InvalidInput
from tallystick.library.inputs import text
from tallystick.payments.billing.checkout import Wish, start_plan_checkout
from tallystick.payments.billing.invoice import Invoice, invoices
from tallystick.payments.billing.portal import open_portal
from tallystick.payments.billing.return_url import check_return_url
from tallystick.payments.billing.status import billing_status
from tallystick.payments.errors import PurchasesClosed
from tallystick.payments.meters.usage import usage_in_period
from tallystick.payments.stripe.client import StripeClient

router = APIRouter(prefix="/api/billing", tags=["billing"])


@router.post("/checkout", openapi_extra=documentation.CHECKOUT_BODY, responses=documentation.CHECKOUT)
async def checkout(request: Request, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """Subscribe: `url` is a page of Stripe's that leads to a subscription. The same wish has the same page for an hour.
    An organization without a customer at Stripe is refused with `customer_not_ready`; one that is subscribed with
    `already_subscribed`, for its plan is changed in the portal."""
    given = _fields(await request.body(), ("priceId", "successUrl", "cancelUrl"))
    wish = Wish(
        organization=caller.organization,
        price=text(given["priceId"], "priceId"),
        success_url=_return_url(dependencies, given, "successUrl"),
        cancel_url=_return_url(dependencies, given, "cancelUrl"),
        asked_by=caller.asked_by,
    )
    url = await start_plan_checkout(dependencies.pool, _stripe(dependencies), wish, now=dependencies.now())
    return ExactJSON({"url": url})


@router.post("/portal", openapi_extra=documentation.PORTAL_BODY, responses=documentation.PORTAL)
async def portal(request: Request, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """`url` is Stripe's customer portal for this organization: cards, past invoices, change and end of the plan."""
    given = _fields(await request.body(), ("returnUrl",))
    back = _return_url(dependencies, given, "returnUrl")
    url = await open_portal(
        dependencies.pool, _stripe(dependencies), caller.organization, back, asked_by=caller.asked_by
    )
    return ExactJSON({"url": url})


@router.get("/status", responses=documentation.STATUS)
async def status(caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """The plan in force, where the subscription stands, and what was used in its billing period. `status` is trialing,
    active, past_due or paused; `canceled` where it ended and the default plan is in force; `none` without one."""
    terms = await dependencies.constraints.find(caller.organization)
    # The first look at a period reads every request of it: few at a time for one organization.
    with dependencies.reports.one_of(caller.organization):
        async with dependencies.pool.acquire() as connection:
            found = await billing_status(connection, caller.organization, terms, dependencies.now())
            used = await usage_in_period(connection, caller.account, found.period.starts_at, found.period.ends_at)
    return ExactJSON(
        {
            "plan": found.plan,
            "status": found.status,
            "currentPeriodEnd": _second(found.period.ends_at),
            "meteredEnabled": found.metered_enabled,
            "sessionCount": used.agent_sessions,
            "llmTokens": used.llm_tokens,
        }
    )


@router.get("/invoices", responses=documentation.INVOICES)
async def list_invoices(
    caller: CurrentBillingCaller,
    dependencies: Dependencies,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """Invoices of the subscription, the newest first, each with the page on which it can be seen and paid."""
    found = await invoices(
        dependencies.pool,
        caller.organization,
        livemode=None if dependencies.stripe is None else dependencies.stripe.livemode,
        before=id_cursor(cursor, "in"),
        limit=limit,
    )
    following = found[-1].id if len(found) == limit else None
    return ExactJSON({"invoices": [_shown(invoice) for invoice in found], "next_cursor": following})


def _fields(body: bytes, names: tuple[str, ...]) -> dict[str, object]:
    """All of them, and no other: whoever sends a field expects it to count."""
    given = strict_json.loads(body)
    if unknown := sorted(given.keys() - set(names)):
        raise InvalidInput(unknown[0] if unknown[0].isprintable() else "body", "is not a field of this request")
    for name in names:
        if name not in given:
            raise InvalidInput(name, "is missing")
    return given


def _return_url(dependencies: ApiDependencies, given: dict[str, object], field: str) -> str:
    address = given[field]
    if not isinstance(address, str):
        raise InvalidInput(field, "must be an address")
    return check_return_url(field, address, dependencies.allowed_return_hosts)


def _stripe(dependencies: ApiDependencies) -> StripeClient:
    if dependencies.stripe is None:
        raise PurchasesClosed("This server has no payment provider: its operator has set no key of Stripe's.", 60)
    return dependencies.stripe


def _shown(invoice: Invoice) -> dict[str, object]:
    return {
        "id": invoice.id,
        "number": invoice.number,
        "status": invoice.status,
        "currency": invoice.currency,
        "amount_due_minor": invoice.amount_due_minor,
        "amount_paid_minor": invoice.amount_paid_minor,
        "period_start": invoice.period_starts_at,
        "period_end": invoice.period_ends_at,
        "created_at": invoice.created_at,
        "paid_at": invoice.paid_at,
        "url": invoice.hosted_url,
        "pdf": invoice.pdf_url,
    }


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
