"""Which Stripe a part of the contract is held against, and why not against the others."""

import asyncio
from collections.abc import Callable, Container

import pytest

NOT_COVERED = {
    ("localstripe", "checkout"): "it has no Checkout",
    ("localstripe", "idempotency"): "it does not read the Idempotency-Key header",
    ("localstripe", "price_data"): "it has no Checkout",
    ("localstripe", "refund limits"): "it refunds more than was paid",
    ("localstripe", "error codes"): "its errors carry no code and no param",
    ("localstripe", "payments of a customer"): "its list of payment intents takes no customer",
    ("localstripe", "reused cards"): "a detached card can be attached again, which Stripe refuses",
    ("emulate", "idempotency"): "its Stripe does not read the Idempotency-Key header",
    ("emulate", "keys"): "it lets everybody in",
    ("emulate", "merged metadata"): "it replaces metadata as a whole, which Stripe does not",
    ("emulate", "price_data"): "its line items need a stored price",
    ("emulate", "declines"): "every card succeeds",
    ("emulate", "created and confirmed"): "it ignores `confirm` when an intent is created",
    ("emulate", "refunds"): "it has none",
    ("emulate", "refund limits"): "it has no refunds",
    ("emulate", "events"): "it keeps none",
    ("emulate", "saved cards"): "its list of payment methods is always empty",
    ("emulate", "reused cards"): "it saves none",
    ("emulate", "subscriptions"): "it has none",
}


def held_against(call: str) -> pytest.MarkDecorator:
    """Runs a test against every Stripe that covers a call."""
    names = [name for name in ("sandbox", "localstripe", "emulate") if (name, call) not in NOT_COVERED]
    marked = [pytest.param(name, marks=pytest.mark.npm if name == "emulate" else ()) for name in names]
    return pytest.mark.parametrize("witness", marked, indirect=True)


async def eventually(found: Callable[[], Container[object]], wanted: object) -> None:
    """Waits until what is looked for is there: localstripe sends its webhooks a second later."""
    for _ in range(200):
        if wanted in found():
            return
        await asyncio.sleep(0.05)
    assert wanted in found()
