"""The example application on real servers: two processes on one database, and 64 clients at each quota's edge."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tallystick.accounts import organization
from tallystick.catalog.publish import apply
from tallystick.subscriptions.subscribe import subscribe
from tests.patience import PATIENCE_S

EXAMPLES = Path(__file__).parents[2] / "examples"
CATALOG = (EXAMPLES / "catalog.toml").read_text()
FEATURES = {feature["name"]: feature["limits"] for feature in tomllib.loads(CATALOG)["feature"]}
CLIENTS = 64
PROCESSES = 2


@contextlib.contextmanager
def serving(dsn):
    """Both accept from one socket, so that requests come to either."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        command = [
            sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES / "gated_app"), "--fd", str(listener.fileno()),
            "--log-level", "warning", "app:app",
        ]  # fmt: skip
        processes = [
            subprocess.Popen(command, env={**os.environ, "DATABASE_URL": dsn}, pass_fds=[listener.fileno()])
            for _ in range(PROCESSES)
        ]
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=PATIENCE_S)


@pytest.fixture
async def new_customer(pool):
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=datetime.now(UTC), dry_run=False)

    async def make(plan=None):
        async with pool.acquire() as connection:
            made = await organization.create(connection, name="Ada's lab")
            if plan is not None:
                await subscribe(connection, made.id, plan, trial_days=0)
        return made.id

    return make


@pytest.fixture
async def app(dsn, new_customer):
    limits = httpx.Limits(max_connections=CLIENTS)
    with serving(dsn) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            yield client


async def test_every_feature_at_its_edge(app, new_customer, pool):
    assert len(FEATURES) == 23
    customer = await new_customer()
    for feature, limits in FEATURES.items():
        tries = max(CLIENTS, limits["free"] + 14)
        answers = await asyncio.gather(
            *(app.post(f"/api/{feature}", headers={"x-user": customer}) for _ in range(tries))
        )
        admitted = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(admitted) == limits["free"], feature
        assert len(admitted) + len(refused) == tries
        assert {int(answer.headers["x-quota-used"]) for answer in admitted} == set(range(1, limits["free"] + 1))
        for answer in refused:
            assert answer.json()["error"]["code"] == "quota_exceeded"
            assert answer.json()["error"]["feature"] == feature
            assert int(answer.headers["retry-after"]) >= 1
    counted = dict(await pool.fetch("select feature, sum(count)::int from tier_usage group by 1"))
    assert counted == {feature: limits["free"] for feature, limits in FEATURES.items()}


async def test_other_tiers_have_other_limits(app, new_customer):
    pro, enterprise = await new_customer("pro"), await new_customer("enterprise")
    for customer, limit in ((pro, 20), (enterprise, CLIENTS)):
        answers = await asyncio.gather(
            *(app.post("/api/agent_creations", headers={"x-user": customer}) for _ in range(CLIENTS))
        )
        assert sum(answer.status_code == 200 for answer in answers) == limit
    assert (await app.get("/api/quota/agent_creations", headers={"x-user": pro})).json() == {
        "allowed": False, "remaining": 0, "tier": "pro",
    }  # fmt: skip
    assert (await app.get("/api/quota/agent_creations", headers={"x-user": enterprise})).json() == {
        "allowed": True, "remaining": None, "tier": "enterprise",
    }  # fmt: skip


async def test_pages_are_charged_as_the_plan_says(app, new_customer, pool):
    customer = await new_customer("payg")
    answer = await app.post("/api/documents", params={"pages": 12}, headers={"x-user": customer})
    assert (answer.status_code, answer.json()) == (200, {"read": 9})
    row = await pool.fetchrow("select meter, used, held from meter_counter")
    assert tuple(row) == ("document_page", 9, 0)
    assert await pool.fetchval("select sum(amount) from transfer where kind = 'usage'") == 9 * 10_000_000
    nobody = await app.post("/api/documents", params={"pages": 0}, headers={"x-user": customer})
    assert nobody.status_code == 422


async def test_who_is_nobody_uses_nothing(app):
    assert (await app.post("/api/ad_generations")).status_code == 401
    assert (await app.post("/api/ad_generations", headers={"x-user": "user_nobody"})).status_code == 404
