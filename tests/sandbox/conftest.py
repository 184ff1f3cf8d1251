"""The stand-ins as their users meet them: separate processes, spoken to over HTTP with the official SDKs."""

import contextlib
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import stripe
from aiohttp import web

from tests.patience import PATIENCE_S
from tests.stand_in import STRIPE, started

Starter = Callable[..., AbstractContextManager[str]]

_CHECKOUT: dict[str, Any] = {
    "mode": "payment",
    "line_items": [
        {
            "quantity": 1,
            "price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Standard: 25 credits"}},
        }
    ],
    "client_reference_id": "order_1",
    "metadata": {"order": "order_1"},
    "payment_intent_data": {"metadata": {"order": "order_1"}, "description": "25 credits"},
    "success_url": "http://127.0.0.1:9/thanks?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "http://127.0.0.1:9/cancelled",
}


@dataclass
class Received:
    """One webhook as it came in: the raw body and its signature."""

    body: bytes
    signature: str


@dataclass
class Receiver:
    """A shop's webhook endpoint on a real socket; `answers` are the statuses it gives first, then always 200."""

    url: str = ""
    secret: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def events(self) -> list[stripe.Event]:
        """What came in, each one verified by the official SDK."""
        return [stripe.Webhook.construct_event(one.body, one.signature, self.secret) for one in self.received]

    def types(self) -> list[str]:
        return [event.type for event in self.events()]

    async def take(self, request: web.Request) -> web.Response:
        self.received.append(Received(await request.read(), request.headers["stripe-signature"]))
        return web.Response(status=self.answers.pop(0) if self.answers else 200)


@dataclass
class Sandbox:
    address: str

    def client(self, key: str = "sk_test_sandbox", **options: Any) -> stripe.StripeClient:
        """The official SDK on this sandbox, synchronous. It retries nothing unless a test says so."""
        return stripe.StripeClient(key, base_addresses={"api": self.address}, **{"max_network_retries": 0, **options})

    async def control(self, path: str, /, **body: object) -> Any:
        # Without TLS there is nothing to verify, and reading the certificates would take most of a test's time.
        async with httpx.AsyncClient(verify=False, timeout=2 * PATIENCE_S) as client:
            response = await client.post(f"{self.address}/_sandbox/{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def delivered(self) -> None:
        """Waits until no webhook is under way any more."""
        assert (await self.control("webhooks/wait", timeout_s=PATIENCE_S))["done"]


@pytest.fixture(scope="session")
def start() -> Starter:
    """`with start(module, *arguments) as address:` runs a stand-in of its own for one test."""
    return started


@pytest.fixture(scope="session")
def running_sandbox(start: Starter) -> Iterator[str]:
    with start(STRIPE, "--debit-delay-s", "-1") as address:
        yield address


@pytest.fixture
async def sandbox(running_sandbox: str) -> AsyncIterator[Sandbox]:
    """One process for all tests; what a test asked it to break is mended afterwards."""
    yield Sandbox(running_sandbox)
    async with httpx.AsyncClient(verify=False, base_url=running_sandbox) as client:
        await client.delete("/_sandbox/faults")
        await client.post("/_sandbox/webhooks/rules", json={})


@pytest.fixture
def shop(sandbox: Sandbox) -> Iterator[stripe.StripeClient]:
    """The official SDK, synchronous."""
    with contextlib.closing(stripe.RequestsClient()) as http_client:
        yield sandbox.client(http_client=http_client)


@pytest.fixture
async def receiver(sandbox: Sandbox, shop: stripe.StripeClient) -> AsyncIterator[Receiver]:
    """A webhook endpoint, registered with the sandbox for the length of one test."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/webhook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
    endpoint = shop.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})
    assert endpoint.secret is not None
    receiver.secret = endpoint.secret
    yield receiver
    shop.v1.webhook_endpoints.delete(endpoint.id)
    await runner.cleanup()


@pytest.fixture
def checkout() -> dict[str, Any]:
    """What a shop sends to start a checkout of $25."""
    return copy.deepcopy(_CHECKOUT)
