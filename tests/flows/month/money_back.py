"""How money goes back: refunds by us and by others, some of which fail, and disputes."""

from typing import Final

from tallystick.payments.refunds.create import create as refund
from tests.flows.month.act import Act
from tests.flows.month.customer import Customer, Later
from tests.flows.month.stage import Stage


async def _refund(stage: Stage, customer: Customer, act: Act) -> None:
    made = await refund(
        stage.pool, stage.stripe, customer.orders[act.of], amount_minor=act.minor, beyond_unspent=True,
        reason="as asked", by="operator:ada",
    )  # fmt: skip
    customer.refunds[act.name] = made.id


async def _refund_at_stripe(stage: Stage, customer: Customer, act: Act) -> None:
    """By somebody in Stripe's dashboard, who knows nothing of us."""
    asked = {"payment_intent": customer.paid[act.of]["intent"], "amount": act.minor}
    await stage.stripe.v1.refunds.create_async(asked, {"idempotency_key": customer.name(act)})


async def _refund_fails(stage: Stage, customer: Customer, act: Act) -> None:
    at_stripe = await stage.pool.fetchval("select stripe_refund from refund where id = $1", customer.refunds[act.of])
    if at_stripe is None:
        raise Later("Stripe has not answered yet")
    await stage.control(f"refunds/{at_stripe}/fail")


async def _dispute(stage: Stage, customer: Customer, act: Act) -> None:
    opened = await stage.control(f"charges/{customer.paid[act.of]['charge']}/dispute", **act.given)
    customer.disputes[act.name] = opened["dispute"]["id"]


async def _dispute_ends(stage: Stage, customer: Customer, act: Act) -> None:
    named = customer.disputes[act.of]
    if (await stage.stripe.v1.disputes.retrieve_async(named)).status == "lost":
        # Nobody had answered in time, for this act came late.
        return
    await stage.control(f"disputes/{named}/{act.given['how']}")


ACTS: Final = {
    "refund": _refund,
    "refund at stripe": _refund_at_stripe,
    "refund fails": _refund_fails,
    "dispute": _dispute,
    "dispute ends": _dispute_ends,
}
