"""Orders that are paid by transfer: what customers and operators do about them, one alone or two of them."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from tallystick.catalog.book import Book
from tallystick.catalog.read import versions
from tallystick.payments.orders.approve import AlreadyCredited, AnotherOperator, approve, reject
from tallystick.payments.orders.order import Buyer, Order
from tallystick.payments.orders.place_by_hand import place_by_hand
from tallystick.payments.orders.purchase_terms import PurchaseTerms
from tallystick.payments.refunds.create import create as refund
from tests.flows.month.act import Act
from tests.flows.month.customer import Customer, post, refused
from tests.flows.month.stage import Stage

_ADA, _GRACE, _EDSGER = "operator:ada", "operator:grace", "operator:edsger"


async def _order(stage: Stage, customer: Customer, act: Act) -> None:
    if "pack" in act.given:
        card = {"pack": act.given["pack"]}
        key = f"{customer.name(act)} by card"
        await refused(stage, customer, "/api/credits/purchase", card, key, code="settled_by_hand")
    made = await post(stage, customer, "/api/orders", act.given, customer.name(act))
    customer.orders[act.name] = made["id"]


async def _order_for_them(stage: Stage, customer: Customer, act: Act) -> None:
    now = datetime.now(UTC)
    async with stage.pool.acquire() as connection:
        book = Book(await versions(connection, now))
    buyer = Buyer(organization=customer.organization, account=customer.account, user_id=_ADA)
    made = await place_by_hand(
        stage.pool, lambda: book, PurchaseTerms(), buyer, amount=act.given["amount"] * 10**9,
        coupon=act.given["coupon"], request_id=customer.name(act), now=now,
    )  # fmt: skip
    customer.orders[act.name] = made.id


async def _approve(stage: Stage, customer: Customer, act: Act) -> None:
    await approve(stage.pool, customer.orders[act.of], proof="seen on the statement", by=_ADA, four_eyes=False)
    _approved(customer, act)


async def _approve_by_two(stage: Stage, customer: Customer, act: Act) -> None:
    """Ada cannot release it alone, whether she made it or says so twice; of the two others one does."""
    for _ in range(2):
        try:
            order = await _say_yes(stage, customer, act, _ADA)
        except AnotherOperator:
            continue
        assert order.operation is None, f"one operator alone released {order.id}"
    said = await asyncio.gather(
        *(_say_yes(stage, customer, act, by) for by in (_GRACE, _EDSGER)), return_exceptions=True
    )
    released = [one for one in said if isinstance(one, Order) and one.operation is not None]
    too_late = [one for one in said if isinstance(one, AlreadyCredited)]
    assert (len(released), len(too_late)) == (1, 1), said
    _approved(customer, act)


async def _say_yes(stage: Stage, customer: Customer, act: Act, by: str) -> Order:
    return await approve(stage.pool, customer.orders[act.of], proof="statement 12", by=by, four_eyes=True)


async def _reject(stage: Stage, customer: Customer, act: Act) -> None:
    await reject(stage.pool, customer.orders[act.of], reason="it never came", by=_ADA)


async def _hand_back(stage: Stage, customer: Customer, act: Act) -> None:
    order = customer.orders[act.of]
    await refund(
        stage.pool, None, order, amount_minor=act.minor, beyond_unspent=True, reason="as asked", by=_GRACE,
        proof="transfer 4711", request_id=customer.name(act),
    )  # fmt: skip
    customer.handed_back[order] += act.minor


def _approved(customer: Customer, act: Act) -> None:
    given: dict[str, Any] = next(one.given for one in customer.life.acts if one.name == act.of)
    customer.by_hand[customer.orders[act.of]] = given


ACTS: Final = {
    "order by hand": _order,
    "order for them": _order_for_them,
    "approve": _approve,
    "approve by two": _approve_by_two,
    "reject": _reject,
    "hand back": _hand_back,
}
