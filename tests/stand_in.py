"""The stand-ins of this package as processes of their own, and what is said to the offline Stripe."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import httpx

from tallystick.payments.stripe.client import StripeClient
from tests.patience import PATIENCE_S

STRIPE: Final = "tallystick.sandbox.stripe"
KEY: Final = "sk_test_of_the_tests"

Control = Callable[..., Awaitable[Any]]


@contextmanager
def started(module: str, *arguments: str) -> Iterator[str]:
    """The address of a stand-in, up while the block runs."""
    command = [sys.executable, "-m", module, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), f"{module} did not start"
            yield address
        finally:
            process.terminate()
        process.wait(timeout=PATIENCE_S)
    assert process.returncode == 0


@asynccontextmanager
async def stripe_client(
    address: str, *, timeout_s: float = PATIENCE_S, retries: int = 1
) -> AsyncIterator[StripeClient]:
    client = StripeClient(KEY, api_base=address, timeout_s=timeout_s, retries=retries)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def stripe_control(address: str) -> AsyncIterator[Control]:
    """Ask the offline Stripe for what Stripe has no API for; its faults, and what the next refunds were told to
    do, are forgotten afterwards."""
    # Without TLS there is nothing to verify, and reading the certificates would take most of a test's time.
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S, verify=False) as client:

        async def ask(path: str, /, **body: object) -> Any:
            response = await client.post(f"/_sandbox/{path}", json=body)
            assert response.status_code == 200, response.text
            return response.json()

        yield ask
        for told in ("faults", "refunds/next"):
            assert (await client.delete(f"/_sandbox/{told}")).status_code == 200
