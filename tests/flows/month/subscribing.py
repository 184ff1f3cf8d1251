"""How plans are subscribed to, changed, paused, left, paid late, and used."""

from datetime import timedelta
from typing import Any, Final

from tallystick.catalog.meters import BUILT_IN
from tallystick.metering.record import Recorded, record_events
from tests.flows.month.act import Act
from tests.flows.month.customer import Customer, Later, post
from tests.flows.month.stage import Stage

_BACK: Final = "https://app.example.com/billing"


async def _subscribe(stage: Stage, customer: Customer, act: Act) -> None:
    wish = {"priceId": await _price(stage, act.given["plan"]), "successUrl": _BACK, "cancelUrl": _BACK}
    page = await post(stage, customer, "/api/billing/checkout", wish)
    session = page["url"].rpartition("/")[2]
    answer = await stage.control(f"checkout/{session}/pay", number=act.given["card"])
    customer.subscriptions[act.name] = answer["session"]["subscription"]
    if (intent := answer["payment_intent"]) is not None:
        customer.paid[act.name] = {"intent": intent["id"], "charge": intent["latest_charge"]}


async def _change_plan(stage: Stage, customer: Customer, act: Act) -> None:
    price = await _price(stage, act.given["plan"])
    await stage.control(f"subscriptions/{customer.subscriptions[act.of]}/change_plan", price=price)


async def _cancel(stage: Stage, customer: Customer, act: Act) -> None:
    await post(stage, customer, "/api/billing/portal", {"returnUrl": _BACK})
    await stage.control(f"subscriptions/{customer.subscriptions[act.of]}/cancel")


async def _keep(stage: Stage, customer: Customer, act: Act) -> None:
    await stage.control(f"subscriptions/{customer.subscriptions[act.of]}/keep")


async def _pause(stage: Stage, customer: Customer, act: Act) -> None:
    """By somebody in Stripe's dashboard, as the end of it."""
    await _set_pause(stage, customer, act, {"behavior": "void"})


async def _go_on(stage: Stage, customer: Customer, act: Act) -> None:
    await _set_pause(stage, customer, act, "")


async def _set_pause(stage: Stage, customer: Customer, act: Act, pause: Any) -> None:
    await stage.stripe.v1.subscriptions.update_async(
        customer.subscriptions[act.of], {"pause_collection": pause}, {"idempotency_key": customer.name(act)}
    )


async def _another_card(stage: Stage, customer: Customer, act: Act) -> None:
    at_stripe = await stage.pool.fetchval(
        "select id from stripe_customer where organization = $1", customer.organization
    )
    await stage.control(f"customers/{at_stripe}/card", number=act.given["card"])


async def _pay_invoice(stage: Stage, customer: Customer, act: Act) -> None:
    """Who subscribed days late has nothing to pay yet, and a good card by then."""
    subscription = customer.subscriptions[act.of]
    if not (await stage.stripe.v1.invoices.list_async({"subscription": subscription, "status": "open"})).data:
        return
    bill = await stage.pool.fetchval(
        "select id from stripe_invoice where subscription = $1 and status = 'open'", subscription
    )
    if bill is None:
        raise Later("there is no open invoice")
    await stage.control(f"invoices/{bill}/pay", number=act.given["card"])


async def _use(stage: Stage, customer: Customer, act: Act) -> None:
    """Of agent sessions, minutes ago."""
    at = await stage.now() - timedelta(minutes=5)
    given = [
        {"id": f"{customer.name(act)} {number}", "organization": customer.organization, "meter": "agent_sessions",
         "at": at.isoformat()}
        for number in range(act.given["sessions"])
    ]  # fmt: skip
    found = await record_events(stage.pool, given, meters=lambda _: BUILT_IN, constraints_of=stage.constraints.find)
    assert all(isinstance(one, Recorded) for one in found), found
    customer.used += len(given)


async def _price(stage: Stage, plan: str) -> str:
    found = await stage.pool.fetchval("select id from stripe_price where plan = $1 and meter is null", plan)
    return str(found)


ACTS: Final = {
    "subscribe": _subscribe,
    "change plan": _change_plan,
    "cancel": _cancel,
    "keep": _keep,
    "pause": _pause,
    "go on": _go_on,
    "another card": _another_card,
    "pay invoice": _pay_invoice,
    "use": _use,
}
