"""Subscribers, and a Stripe of one's own whose clock may be moved."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import stripe

DAY_S = 24 * 3600


@dataclass
class Stand:
    """A sandbox for one test, because it moves the clock."""

    address: str
    v1: Any

    def control(self, path: str, /, **body: object) -> Any:
        response = httpx.post(f"{self.address}/_sandbox/{path}", json=body, timeout=60)
        assert response.status_code == 200, response.text
        return response.json()

    def pass_days(self, days: float) -> int:
        return int(self.control("clock", advance_s=int(days * DAY_S))["now"])

    def pass_until(self, moment: int, *, days: float = 0) -> int:
        """Moves the clock to some time after a moment: months differ in length."""
        return self.pass_days((moment - self.pass_days(0)) / DAY_S + days)

    def pass_period(self, made: Any, *, days: float = 0.1) -> int:
        """Moves the clock to some time after the end of a subscription's running period."""
        item = self.v1.subscriptions.retrieve(made.id)["items"].data[0]
        return self.pass_until(item.current_period_end, days=days)

    def price(self, amount: int | None = 2000, interval: str = "month", **more: Any) -> Any:
        product = self.v1.products.create({"name": more.pop("name", "Pro")})
        recurring = {"interval": interval, **more.pop("recurring", {})}
        asked = {"currency": "usd", "unit_amount": amount, "product": product.id, "recurring": recurring}
        return self.v1.prices.create({key: value for key, value in (asked | more).items() if value is not None})

    def payer(self, card: str = "pm_card_visa") -> Any:
        """A customer with a saved card."""
        customer = self.v1.customers.create({"email": "payer@example.com"})
        method = self.v1.payment_methods.attach(card, {"customer": customer.id})
        return self.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})

    def subscribe(self, customer: Any, *prices: Any, **more: Any) -> Any:
        return self.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": price.id} for price in prices], **more}
        )

    def types(self, *prefixes: str) -> list[str]:
        """The types of all events, oldest first."""
        found = [event.type for event in self.v1.events.list({"limit": 100}).auto_paging_iter()]
        return [kind for kind in found[::-1] if not prefixes or kind.startswith(prefixes)]


@pytest.fixture
def open_stand(start: Callable[..., Any]) -> Callable[..., AbstractContextManager[Stand]]:
    """`with open_stand(*arguments) as stand:` for a sandbox that is started as a test says."""

    @contextlib.contextmanager
    def opened(*arguments: str) -> Iterator[Stand]:
        with (
            start("tallystick.sandbox.stripe", *arguments) as address,
            contextlib.closing(stripe.RequestsClient()) as http_client,
        ):
            client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
            yield Stand(address, client.v1)

    return opened


@pytest.fixture
def stand(open_stand: Callable[..., AbstractContextManager[Stand]]) -> Iterator[Stand]:
    with open_stand("--debit-delay-s", "3600") as opened:
        yield opened


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        problem = "Chromium is not installed: no page was seen by a real browser"
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    return found
