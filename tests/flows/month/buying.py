"""How customers buy credits by card, use coupons, and spend."""

import asyncio
from typing import Any, Final

from tallystick.base.ids import id_for_request
from tallystick.payments.orders.grant import grant
from tests.flows.month.act import AUTHENTICATES, Act
from tests.flows.month.catalog import CENT, CREDIT
from tests.flows.month.customer import Customer, Expired, Later, code_of, deduct, post, read, refused
from tests.flows.month.stage import Stage


async def _buy(stage: Stage, customer: Customer, act: Act) -> None:
    wanted = {name: value for name, value in act.given.items() if name in {"amount", "pack", "coupon", "save_card"}}
    started = await _start(stage, customer, act, wanted)
    pages = f"checkout/{started['session_id']}"
    if "declined" in act.given:
        await stage.control(f"{pages}/decline", number=act.given["declined"])
    answer = await stage.control(f"{pages}/pay", number=act.given["card"])
    if act.given["card"] == AUTHENTICATES:
        answer = await stage.control(f"{pages}/authenticate")
    intent = answer["payment_intent"]
    customer.paid[act.name] = {"session": started["session_id"], "intent": intent["id"]}
    if intent["latest_charge"]:
        customer.paid[act.name]["charge"] = intent["latest_charge"]


async def _start(stage: Stage, customer: Customer, act: Act, wanted: Any) -> Any:
    """Whose answer was lost may come back when the page has expired: they start anew then, as they are told to."""
    key = f"{customer.name(act)} {customer.tries[act.name]}"
    try:
        started = await post(stage, customer, "/api/credits/purchase", wanted, key)
    except Expired as error:
        customer.tries[act.name] += 1
        raise Later("the page expired") from error
    customer.orders[act.name] = started["order_id"]
    return started


async def _look_around(stage: Stage, customer: Customer, act: Act) -> None:
    """A page of Stripe's that nobody pays on."""
    await _start(stage, customer, act, act.given)


async def _debit_ends(stage: Stage, customer: Customer, act: Act) -> None:
    await stage.control(f"checkout/{customer.paid[act.of]['session']}/settle", **act.given)


async def _grant(stage: Stage, customer: Customer, act: Act) -> None:
    operation = id_for_request("month", customer.name(act))
    if await grant(stage.pool, customer.account, act.minor * CENT, operation=operation, source="a month's promotion"):
        customer.granted += act.minor * CENT


async def _redeem(stage: Stage, customer: Customer, act: Act) -> None:
    """Twice at once, by an impatient finger."""
    body, key = {"code": act.given["code"]}, customer.name(act)
    asked = (post(stage, customer, "/api/credits/redeem", body, key) for _ in range(2))
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
    customer.granted += act.given["credits"] * CREDIT


async def _redeem_once_more(stage: Stage, customer: Customer, act: Act) -> None:
    path = "/api/credits/redeem"
    await refused(stage, customer, path, act.given, customer.name(act), code="coupon_used_up")


async def _want_one_of_few(stage: Stage, customer: Customer, act: Act) -> None:
    body, headers = {"code": act.given["code"]}, customer.auth | {"idempotency-key": customer.name(act)}
    answer = await stage.http.post("/api/credits/redeem", json=body, headers=headers)
    if answer.is_success or code_of(answer) != "coupon_used_up":
        read(answer, f"{customer.organization} redeems {body}")
        customer.granted += act.given["credits"] * CREDIT
        customer.got_few += 1


async def _spend(stage: Stage, customer: Customer, act: Act) -> None:
    await deduct(stage, customer, act.minor * CENT, customer.name(act))


async def _hold(stage: Stage, customer: Customer, act: Act) -> None:
    hold = id_for_request("month hold", customer.name(act))
    await stage.lanes.reserve(hold, customer.account, act.minor * CENT, expires_in_s=900)
    used = act.given["used"] * CENT
    if used:
        await stage.lanes.settle(hold, customer.account, used)
    else:
        await stage.lanes.release(hold, customer.account)
    customer.spent += used


ACTS: Final = {
    "buy": _buy,
    "look around": _look_around,
    "debit ends": _debit_ends,
    "grant": _grant,
    "redeem": _redeem,
    "redeem once more": _redeem_once_more,
    "want one of few": _want_one_of_few,
    "spend": _spend,
    "hold": _hold,
}
