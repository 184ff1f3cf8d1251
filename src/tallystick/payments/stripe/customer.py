"""Customers at Stripe: each stands for one organization of ours."""

from datetime import datetime, timedelta
from typing import Final

from stripe.params import CustomerCreateParams

from tallystick.payments.stripe.client import StripeClient, known_errors

_PAGE: Final = 100
_CLOCKS_DIFFER_BY: Final = timedelta(hours=1)


async def create_customer(
    stripe: StripeClient,
    organization: str,
    *,
    name: str | None = None,
    email: str | None = None,
    idempotency_key: str,
) -> str:
    """A customer that stands for an organization at Stripe; the same one when it is asked for under the same key.

    Stripe remembers a failure under its key, too, for a day: a key that failed must not be the only one there is."""
    asked: CustomerCreateParams = {"metadata": {"organization": organization}}
    if name is not None:
        asked["name"] = name
    if email is not None:
        asked["email"] = email
    with known_errors():
        customer = await stripe.v1.customers.create_async(asked, {"idempotency_key": idempotency_key})
    return customer.id


async def rename_customer(stripe: StripeClient, customer: str, name: str) -> None:
    with known_errors():
        await stripe.v1.customers.update_async(customer, {"name": name})


async def find_created(stripe: StripeClient, organization: str, *, since: datetime) -> str | None:
    """The organization's first customer of those made from `since` on, or None.

    All of them are listed: Stripe's search by metadata may not know yet of what was made a minute ago."""
    with known_errors():
        page = await stripe.v1.customers.list_async(
            {"created": {"gte": int((since - _CLOCKS_DIFFER_BY).timestamp())}, "limit": _PAGE}
        )
        found = [
            customer.id
            async for customer in page.auto_paging_iter()
            if (customer.to_dict().get("metadata") or {}).get("organization") == organization
        ]
    return found[-1] if found else None
