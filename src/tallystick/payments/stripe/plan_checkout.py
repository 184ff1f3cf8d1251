"""Pages of Stripe on which a plan is subscribed to."""

from collections.abc import Sequence

import msgspec
from stripe.params.checkout import SessionCreateParams, SessionCreateParamsLineItem

from tallystick.payments.errors import PaymentRefused
from tallystick.payments.stripe.checkout import CheckoutSession
from tallystick.payments.stripe.client import StripeClient, known_errors


class PlanCheckout(msgspec.Struct, frozen=True, kw_only=True):
    """What Stripe must know to let someone subscribe."""

    id: str
    organization: str
    customer: str
    plan: str
    price: str
    metered_prices: Sequence[str]
    trial_days: int
    success_url: str
    cancel_url: str


async def create_plan_checkout(stripe: StripeClient, asked: PlanCheckout, *, idempotency_key: str) -> CheckoutSession:
    """Where to subscribe; the same page when it is asked for under the same key."""
    with known_errors():
        session = await stripe.v1.checkout.sessions.create_async(
            _parameters(asked), {"idempotency_key": idempotency_key}
        )
    if not session.url:
        raise PaymentRefused("The payment provider gave no page to subscribe on. Ask again.")
    return CheckoutSession(id=session.id, url=session.url)


async def close_plan_checkout(stripe: StripeClient, session: str) -> bool:
    """Nobody can subscribe on this page any more; False where it was over already, one way or the other."""
    try:
        with known_errors():
            await stripe.v1.checkout.sessions.expire_async(session)
    except PaymentRefused:
        return False
    return True


def _parameters(asked: PlanCheckout) -> SessionCreateParams:
    metadata = {"billing_checkout": asked.id, "organization": asked.organization, "plan": asked.plan}
    metered: list[SessionCreateParamsLineItem] = [{"price": price} for price in asked.metered_prices]
    parameters: SessionCreateParams = {
        "mode": "subscription",
        "customer": asked.customer,
        "client_reference_id": asked.id,
        "success_url": asked.success_url,
        "cancel_url": asked.cancel_url,
        # What is metered has no quantity: it is counted as it is used.
        "line_items": [{"price": asked.price, "quantity": 1}, *metered],
        "metadata": metadata,
        # A session's metadata stays with it; the subscription needs its own.
        "subscription_data": {"metadata": metadata},
    }
    if asked.trial_days:
        parameters["subscription_data"]["trial_period_days"] = asked.trial_days
    return parameters
