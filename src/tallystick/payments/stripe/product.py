"""Products at Stripe: one for each plan, under an id that is ours to choose."""

from tallystick.payments.errors import PaymentRefused
from tallystick.payments.stripe.client import StripeClient, known_errors


async def find_product(stripe: StripeClient, product: str) -> str | None:
    """Its name; None where there is none."""
    try:
        with known_errors(may_be_missing=True):
            return (await stripe.v1.products.retrieve_async(product)).name
    except PaymentRefused as error:
        if error.reason == "resource_missing":
            return None
        raise


async def create_product(stripe: StripeClient, product: str, name: str) -> None:
    """Made once: whoever comes second finds it."""
    try:
        with known_errors():
            await stripe.v1.products.create_async({"id": product, "name": name})
    except PaymentRefused:
        if await find_product(stripe, product) is None:
            raise


async def rename_product(stripe: StripeClient, product: str, name: str) -> None:
    with known_errors():
        await stripe.v1.products.update_async(product, {"name": name})
