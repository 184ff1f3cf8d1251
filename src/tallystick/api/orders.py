"""Payment orders of an organization: /api/orders. All of them are here, however they are paid; new ones are made here
only where they are settled by hand."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response

from tallystick.api import orders_documentation as documentation
from tallystick.api.billing_caller import CurrentBillingCaller
from tallystick.api.client_address import client_address
from tallystick.api.dependencies import Dependencies
from tallystick.api.exact_fields import amount, exact_fields
from tallystick.api.exact_json import ExactJSON
from tallystick.api.id_cursor import id_cursor
from tallystick.base.errors import InvalidInput, Unavailable
from tallystick.library.inputs import text
from tallystick.payments.orders.life import STATES
from tallystick.payments.orders.order import Buyer, find, orders_of
from tallystick.payments.orders.place_by_hand import place_by_hand
from tallystick.payments.orders.shown import shown

router = APIRouter(prefix="/api/orders", tags=["orders"])

_FIELDS: Final = {"amount", "pack", "reference", "coupon"}


class SettlementClosed(Unavailable):
    """This server says nowhere to transfer money to, so that only its operators make such orders."""

    code = "manual_settlement_closed"


@router.post("", status_code=201, openapi_extra=documentation.ORDER_BODY, responses=documentation.ORDER_MADE)
async def create_order(
    request: Request,
    caller: CurrentBillingCaller,
    dependencies: Dependencies,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Order an `amount` of credits or a `pack`, and pay it by a transfer that names the `reference` in the answer. The
    credits come once a person has seen the money. The same `Idempotency-Key` gives the same order again."""
    if dependencies.terms.transfer_to is None:
        raise SettlementClosed("Orders are not settled by hand here. Buy by card, or ask this server's operator.", 60)
    given = exact_fields(await request.body(), _FIELDS)
    order = await place_by_hand(
        dependencies.pool,
        dependencies.book,
        dependencies.terms,
        Buyer(organization=caller.organization, account=caller.account, user_id=caller.asked_by),
        amount=amount(given, "amount") if "amount" in given else None,
        pack=text(given["pack"], "pack") if "pack" in given else None,
        coupon=text(given["coupon"], "coupon") if "coupon" in given else None,
        reference=text(given["reference"], "reference") if given.get("reference") is not None else None,
        request_id=None if idempotency_key is None else text(idempotency_key, "Idempotency-Key"),
        address=client_address(request),
        now=dependencies.now(),
    )
    return ExactJSON(shown(order, dependencies.terms.transfer_to), status_code=201)


@router.get("", responses=documentation.ORDERS)
async def list_orders(
    caller: CurrentBillingCaller,
    dependencies: Dependencies,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: str | None = None,
    state: str | None = None,
) -> Response:
    """The organization's orders, the newest first. `next_cursor` asks for the next page."""
    before = id_cursor(cursor, "ord")
    if state is not None and state not in STATES:
        raise InvalidInput("state", f"must be one of {', '.join(STATES)}")
    # One more than asked for tells whether there is a next page.
    found = await orders_of(
        dependencies.pool, organization=caller.organization, state=state, before=before, limit=limit + 1
    )
    page = found[:limit]
    return ExactJSON(
        {
            "orders": [shown(order, dependencies.terms.transfer_to) for order in page],
            "next_cursor": page[-1].id if len(found) > limit else None,
        }
    )


@router.get("/{order_id}", responses=documentation.ORDER)
async def read_order(order_id: str, caller: CurrentBillingCaller, dependencies: Dependencies) -> Response:
    """One order: where it stands, and how it is paid as long as it waits to be."""
    order = await find(dependencies.pool, order_id, organization=caller.organization)
    return ExactJSON(shown(order, dependencies.terms.transfer_to))
