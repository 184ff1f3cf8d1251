"""Automatic top-ups: agreed to, made necessary by spending it all, declined, confirmed to the bank."""

from typing import Any, Final

from tallystick.payments.orders.charge_top_up import top_up_due
from tallystick.payments.orders.purchase_terms import PurchaseTerms
from tests.flows.month.act import Act
from tests.flows.month.catalog import CENT
from tests.flows.month.customer import Customer, Later, deduct, post
from tests.flows.month.stage import Stage

MONTHLY_MAX: Final = 300
_THRESHOLD: Final = 5
_NEWEST: Final = "select * from payment_order where organization = $1 and {} order by created_at desc limit 1"


async def _top_up(stage: Stage, customer: Customer, act: Act) -> None:
    await _agree(stage, customer, act.minor)


async def _agree(stage: Stage, customer: Customer, minor: int) -> None:
    wanted = {"threshold": _THRESHOLD, "amount": minor // 100, "monthly_max": MONTHLY_MAX, "cool_down_s": 60}
    await post(stage, customer, "/api/top-up", wanted, method="PUT")


async def _spend_it_all(stage: Stage, customer: Customer, act: Act) -> None:
    """But for a little, which is less than what lets the card be charged."""
    key = _key(customer, act)
    if key not in customer.amounts:
        free = await stage.pool.fetchval("select posted - held from ledger_account where id = $1", customer.account)
        customer.amounts[key] = max(0, free - act.given.get("but_minor", 0) * CENT) // CENT * CENT
    if customer.amounts[key]:
        await deduct(stage, customer, customer.amounts[key], key)


async def _choose(stage: Stage, customer: Customer, act: Act) -> None:
    """A payment that their card was charged by itself: the next acts are about that one."""
    order = await _find(stage, customer, act, "kind = 'top_up' and state = 'credited'")
    intent = await stage.stripe.v1.payment_intents.retrieve_async(order["stripe_payment_intent"])
    customer.orders[act.name] = order["id"]
    customer.paid[act.name] = {"intent": intent.id, "charge": str(intent.latest_charge)}


async def _answer_the_bank(stage: Stage, customer: Customer, act: Act) -> None:
    """On the page that they were sent; unless it has expired, for days pass at once here."""
    order = await _find(stage, customer, act, "kind = 'checkout' and request_id like '%-by-its-owner'")
    session = order["stripe_session"]
    if session is None:
        raise Later("the page is not there yet")
    page = await stage.stripe.v1.checkout.sessions.retrieve_async(session)
    if page.status == "expired":
        return
    await stage.control(f"checkout/{session}/pay", number=act.given["card"])
    await stage.control(f"checkout/{session}/authenticate")


async def _card_declines(stage: Stage, customer: Customer, _act: Act) -> None:
    method = await stage.pool.fetchval(
        "select payment_method from top_up where organization = $1", customer.organization
    )
    await stage.control(f"payment_methods/{method}/decline")


def _key(customer: Customer, act: Act) -> str:
    return f"{customer.name(act)} {customer.tries[act.name]}"


async def _find(stage: Stage, customer: Customer, act: Act, which: str) -> Any:
    """The newest order of theirs that is so. Raises Later, having done what leads to one."""
    if _key(customer, act) in customer.amounts:
        # The answer to it was lost, and it may have been done: asked again, it is counted.
        await _spend_it_all(stage, customer, act)
        customer.tries[act.name] += 1
    order = await stage.pool.fetchrow(_NEWEST.format(which), customer.organization)
    if order is None:
        agreed = await stage.pool.fetchrow("select * from top_up where organization = $1", customer.organization)
        if agreed["stopped"] is not None:
            # As after a dispute, of what was paid for their plan, too.
            await _agree(stage, customer, agreed["amount_minor"])
        await _spend_it_all(stage, customer, act)
        customer.tries[act.name] += 1
        await top_up_due(stage.pool, stage.stripe, PurchaseTerms(public_url=str(stage.http.base_url).rstrip("/")))
        order = await stage.pool.fetchrow(_NEWEST.format(which), customer.organization)
    if order is None:
        raise Later("the card was not charged yet")
    return order


ACTS: Final = {
    "top up": _top_up,
    "spend it all": _spend_it_all,
    "choose a top-up": _choose,
    "answer the bank": _answer_the_bank,
    "card declines": _card_declines,
}
