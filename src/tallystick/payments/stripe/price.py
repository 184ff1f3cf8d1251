"""Prices at Stripe: what one version of a plan costs, or one unit of a meter in it. They never change."""

from decimal import Decimal
from typing import cast

import msgspec
from stripe.params import PriceCreateParams

from tallystick.payments.errors import PaymentRefused
from tallystick.payments.stripe.client import StripeClient, known_errors


class NewPrice(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` is in minor units, down to a trillionth; `meter` is the billing meter that counts what it is for."""

    lookup_key: str
    product: str
    currency: str
    interval: str
    amount: Decimal
    meter: str | None = None


class StripePrice(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    active: bool
    currency: str
    amount: Decimal
    interval: str | None
    interval_count: int
    meter: str | None


async def find_price(stripe: StripeClient, price: str) -> StripePrice | None:
    try:
        with known_errors(may_be_missing=True):
            return _read((await stripe.v1.prices.retrieve_async(price)).to_dict())
    except PaymentRefused as error:
        if error.reason == "resource_missing":
            return None
        raise


async def price_by_key(stripe: StripeClient, lookup_key: str) -> StripePrice | None:
    with known_errors():
        page = await stripe.v1.prices.list_async({"lookup_keys": [lookup_key], "limit": 1})
    return _read(page.data[0].to_dict()) if page.data else None


async def create_price(stripe: StripeClient, price: NewPrice) -> StripePrice:
    """Made once: Stripe lets one price have the lookup key, and whoever comes second finds that one."""
    asked: PriceCreateParams = {
        "lookup_key": price.lookup_key,
        "product": price.product,
        "currency": price.currency,
        # As text: the SDK writes a small decimal as 1E-7.
        "unit_amount_decimal": cast("Decimal", f"{price.amount:f}"),
        "recurring": {"interval": price.interval},
    }
    if price.meter is not None:
        asked["recurring"] |= {"usage_type": "metered", "meter": price.meter}
    try:
        with known_errors():
            return _read((await stripe.v1.prices.create_async(asked)).to_dict())
    except PaymentRefused:
        found = await price_by_key(stripe, price.lookup_key)
        if found is None:
            raise
        return found


async def archive_price(stripe: StripeClient, price: str) -> None:
    """Nobody can subscribe at it any more; who did goes on."""
    with known_errors():
        await stripe.v1.prices.update_async(price, {"active": False})


def _read(row: dict[str, object]) -> StripePrice:
    recurring = row["recurring"]
    rule: dict[str, object] = recurring if isinstance(recurring, dict) else {}
    return msgspec.convert(
        {
            "id": row["id"],
            "active": row["active"],
            "currency": row["currency"],
            "amount": Decimal(str(row["unit_amount_decimal"])),
            "interval": rule.get("interval"),
            "interval_count": rule.get("interval_count", 1),
            "meter": rule.get("meter"),
        },
        StripePrice,
    )
