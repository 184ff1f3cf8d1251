"""Pages of Stripe on which an order is paid."""

import msgspec
from stripe.params.checkout import SessionCreateParams

from tallystick.payments.errors import PaymentRefused
from tallystick.payments.stripe.client import StripeClient, known_errors


class CheckoutOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What Stripe must know of an order. The same order id with other content is refused by Stripe."""

    id: str
    organization: str
    user_id: str
    customer: str
    title: str
    amount_minor: int
    currency: str
    success_url: str
    cancel_url: str
    save_card: bool = False


class CheckoutSession(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    url: str


async def create_checkout_session(stripe: StripeClient, order: CheckoutOrder) -> CheckoutSession:
    """Where the buyer can pay the order; the same session when it is asked for again."""
    with known_errors():
        session = await stripe.v1.checkout.sessions.create_async(
            session_parameters(order), {"idempotency_key": order.id}
        )
    if not session.url:
        raise PaymentRefused("The payment provider gave no page to pay on. Start a new purchase.")
    return CheckoutSession(id=session.id, url=session.url)


def session_parameters(order: CheckoutOrder) -> SessionCreateParams:
    """The session as Stripe is asked for it."""
    metadata = {"order_id": order.id, "organization": order.organization, "user_id": order.user_id}
    parameters: SessionCreateParams = {
        "mode": "payment",
        "customer": order.customer,
        "client_reference_id": order.id,
        "success_url": order.success_url,
        "cancel_url": order.cancel_url,
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": order.currency,
                    "unit_amount": order.amount_minor,
                    "product_data": {"name": order.title},
                },
            }
        ],
        # What is paid must be what was ordered, in the currency it was ordered in.
        "adaptive_pricing": {"enabled": False},
        "metadata": metadata,
        # The payment has an event of its own, which may come first and must name its order by itself.
        "payment_intent_data": {"metadata": metadata},
    }
    if order.save_card:
        parameters["payment_intent_data"] = {"metadata": metadata, "setup_future_usage": "off_session"}
    return parameters
