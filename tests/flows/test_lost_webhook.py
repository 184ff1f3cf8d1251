"""A payment whose webhook never arrived is credited all the same: the server asks Stripe for what it missed."""

import asyncio
import json
from pathlib import Path

import httpx

from tallystick.app.maintenance import Missed
from tallystick.app.world import command, world
from tallystick.base.database import open_pool
from tallystick.base.embedded_postgres import EmbeddedPostgres
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.stripe.client import StripeClient
from tests.patience import PATIENCE_S


def test_a_lost_webhook_is_fetched():
    with world(progress=lambda _line: None) as running:
        stripe = httpx.Client(base_url=f"{running.stripe_address}/_sandbox", timeout=2 * PATIENCE_S)
        stripe.post("/webhooks/rules", json={"drop_next": 100}).raise_for_status()
        http = httpx.Client(base_url=running.address, timeout=PATIENCE_S)
        account = http.post("/api/auth/sign-up", json={"email": "ada@example.com", "password": "correct horse"}).json()
        http.headers["authorization"] = f"Bearer {account['session_token']}"
        order = http.post("/api/credits/purchase", json={"amount": 25}).json()
        stripe.post(f"/checkout/{order['session_id']}/pay", json={}).raise_for_status()
        stripe.post("/webhooks/wait", json={"timeout_s": PATIENCE_S}).raise_for_status()
        assert http.get("/api/credits/balance").json()["balance"] == 0

        for _ in range(2):
            asyncio.run(_fetch(running))

        assert http.get("/api/credits/balance").json()["balance"] == 25
        assert json.loads(command(running.environment, "verify", "--json"))["broken"] is None
        http.close()
        stripe.close()


async def _fetch(running):
    settings = running.environment
    async with EmbeddedPostgres(Path(settings["TALLYSTICK_DATA_DIR"])) as server, await open_pool(server.dsn) as pool:
        stripe = StripeClient(settings["STRIPE_API_KEY"], api_base=settings["STRIPE_API_BASE"])
        missed = Missed(Inbox(pool, secrets=["whsec_unused"], livemode=False), stripe)
        await missed.fetch()
        await stripe.close()
