"""The credits API: /api/credits/*. Thin: what a route means is in the credit service and the inbox.

Bodies that carry money are read by `strict_json`, so that no amount passes through a float; the schemas are for people.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import asyncpg
import structlog
from fastapi import APIRouter, Header, Query, Request, Response

from tallystick.api import credits_documentation as documentation
from tallystick.api.client_address import client_address
from tallystick.api.dependencies import Dependencies
from tallystick.api.errors import error_body
from tallystick.api.exact_fields import exact_fields, flag
from tallystick.api.exact_json import ExactJSON
from tallystick.api.payer import CurrentPayer
from tallystick.base.database import AWAY, load_queries
from tallystick.base.errors import InvalidInput
from tallystick.base.money import to_decimal
from tallystick.library.answers import BatchResponse, DeductFailure, DeductResponse
from tallystick.library.inputs import number, text

_log = structlog.get_logger()
_queries = load_queries(__file__, "credits.sql")

# What a database that is away, restarting or overloaded raises; InternalClientError on a connection that just died.

router = APIRouter(prefix="/api/credits", tags=["credits"])


@router.get("/balance", responses=documentation.BALANCE)
async def balance(payer: CurrentPayer, dependencies: Dependencies) -> Response:
    """What the organization has. `held` is set aside for running requests; `available` can be spent."""
    found = await dependencies.credits.get_balance(payer.id)
    return ExactJSON(
        {
            "balance": found.balance,
            "available": found.available,
            "held": found.held,
            "last_purchase_at": _seconds(found.last_purchase_at),
            "last_deduction_at": _seconds(found.last_deduction_at),
        }
    )


@router.get("/history", responses=documentation.HISTORY)
async def history(
    payer: CurrentPayer,
    dependencies: Dependencies,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
    only: Annotated[str | None, Query(alias="type")] = None,
) -> Response:
    """What came in (positive) and went out (negative), newest first. `next_cursor` asks for the next page."""
    page = await dependencies.credits.history(payer.id, limit=limit, cursor=cursor, only=only)
    return ExactJSON(
        {
            "transactions": [
                {"type": line.type, "amount": line.amount, "created_at": _seconds(line.created_at), "id": line.id}
                for line in page.transactions
            ],
            "next_cursor": page.next_cursor,
        }
    )


@router.post("/purchase", openapi_extra=documentation.PURCHASE_BODY, responses=documentation.PURCHASE)
async def purchase(
    request: Request,
    payer: CurrentPayer,
    dependencies: Dependencies,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Start the purchase of an `amount` of credits or of a `pack`, with a `coupon` where there is one. The buyer pays
    at `checkout_url`; the credits come with Stripe's webhook. The same `Idempotency-Key` gives the same session again.
    With `save_card` the card may be charged again by automatic top-ups."""
    payer.require_billing()
    given = exact_fields(await request.body(), {"amount", "pack", "coupon", "save_card"})
    started = await dependencies.credits.purchase(
        payer.id,
        number(given["amount"]) if "amount" in given else None,
        pack=text(given["pack"], "pack") if "pack" in given else None,
        idempotency_key=idempotency_key,
        bought_by=payer.asked_by,
        coupon=text(given["coupon"], "coupon") if "coupon" in given else None,
        save_card=flag(given, "save_card", default=False),
        address=client_address(request),
    )
    return ExactJSON(started)


@router.get("/packs", responses=documentation.PACKS)
async def packs(_payer: CurrentPayer, dependencies: Dependencies) -> Response:
    """What is on offer, the smallest first. One with the payment `manual` is not sold by card: `POST /api/orders`."""
    return ExactJSON(
        {
            "packs": [
                {
                    "pack": pack.slug,
                    "name": pack.name,
                    "description": pack.description,
                    "amount_minor": pack.amount_minor,
                    "currency": pack.currency,
                    "credits": to_decimal(pack.credits),
                    "payment": pack.payment,
                }
                for pack in dependencies.book().packs()
            ]
        }
    )


@router.post("/redeem", openapi_extra=documentation.REDEEM_BODY, responses=documentation.REDEEM)
async def redeem(
    request: Request,
    payer: CurrentPayer,
    dependencies: Dependencies,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Take the free credits of a coupon, once for each `Idempotency-Key`. A coupon that makes a purchase cheaper goes
    with `POST /api/credits/purchase`. Wrong codes are answered only so many times an hour."""
    payer.require_billing()
    given = exact_fields(await request.body(), {"code"})
    done = await dependencies.credits.redeem(
        payer.id,
        text(given.get("code"), "code"),
        idempotency_key=idempotency_key,
        redeemed_by=payer.asked_by,
        address=client_address(request),
    )
    return ExactJSON(done)


@router.post("/webhook", openapi_extra=documentation.WEBHOOK_BODY, responses=documentation.WEBHOOK)
async def webhook(
    request: Request, dependencies: Dependencies, stripe_signature: Annotated[str | None, Header()] = None
) -> Response:
    """For Stripe. 200 means that the event is on disk, whatever comes of it."""
    await dependencies.inbox.receive(await request.body(), stripe_signature)
    return ExactJSON({"received": True})


@router.post("/deduct", openapi_extra=documentation.DEDUCT_BODY, responses=documentation.DEDUCT)
async def deduct(request: Request, dependencies: Dependencies) -> Response:
    """Charge a user's organization for usage. The same `request_id` is charged once, however often it is sent."""
    dependencies.accepted_services.check(request.headers)
    given = exact_fields(await request.body(), {"user_id", "amount", "request_id"})
    done = await dependencies.credits.deduct(
        text(given.get("user_id"), "user_id"),
        number(given.get("amount")),
        None if given.get("request_id") is None else text(given["request_id"], "request_id"),
    )
    return ExactJSON(done)


@router.post("/deduct/batch", openapi_extra=documentation.BATCH_BODY, responses=documentation.BATCH)
async def deduct_batch(request: Request, dependencies: Dependencies) -> Response:
    """Charge many at once, up to 1,000. Each has its own result, in the order given; one that fails stops no other.
    `deducted` is what was charged since this request began: what an earlier one had charged succeeds, and adds nothing.
    It is null where the database went away right after."""
    dependencies.accepted_services.check(request.headers)
    given = exact_fields(await request.body(), {"deductions"})
    deductions = given.get("deductions")
    if not isinstance(deductions, list):
        raise InvalidInput("deductions", "must be a list")
    began: datetime = await _queries.clock(dependencies.pool)
    done = await dependencies.credits.deduct_batch(deductions)
    return ExactJSON(_batch(done, await _charged(dependencies.pool, done, began)))


async def _charged(pool: asyncpg.Pool, done: BatchResponse, began: datetime) -> int | None:
    """What the batch charged; None when it can no longer be asked for, since an error would be taken as not charged."""
    try:
        return int(await _queries.charged_since(pool, ids=[UUID(result.id) for result in done.succeeded], since=began))
    except AWAY as error:
        _log.warning("batch_not_summed", problem=repr(error))
        return None


def _batch(done: BatchResponse, charged: int | None) -> dict[str, object]:
    return {
        "results": [_result(result) for result in done.results],
        "succeeded": len(done.succeeded),
        "failed": len(done.failed),
        "deducted": None if charged is None else to_decimal(charged),
    }


def _result(result: DeductResponse | DeductFailure) -> object:
    if isinstance(result, DeductResponse):
        return result
    return {
        "user_id": result.user_id,
        "request_id": result.request_id,
        "status": result.error.status,
        "error": error_body(result.error),
    }


def _seconds(at: datetime | None) -> datetime | None:
    return at and at.replace(microsecond=0)
