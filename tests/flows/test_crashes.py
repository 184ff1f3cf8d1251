"""kill -9 of workers and of PostgreSQL under load: afterwards every hold has ended and the books balance."""

import asyncio
import contextlib
import json
import os
import signal
from decimal import Decimal
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from tallystick.app.world import command, world
from tallystick.base.embedded_postgres import EmbeddedPostgres
from tests.patience import eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def running():
    with world(workers=2, progress=lambda _line: None) as everything:
        yield everything


@pytest.fixture
def api_key(running):
    org = json.loads(command(running.environment, "orgs", "create", "Load", "--json"))["id"]
    command(running.environment, "credits", "grant", org, "100")
    return org, json.loads(command(running.environment, "keys", "create", org, "--json"))["key"]


async def test_nothing_is_lost_or_charged_twice(running, api_key):
    org, key = api_key
    answered: dict[str, Decimal] = {}
    stop = asyncio.Event()
    async with httpx.AsyncClient(base_url=running.address, timeout=60) as http:
        load = [asyncio.create_task(_call_until(stop, http, key, number, answered)) for number in range(24)]
        for round_ in range(3):
            await _so_many_more(answered)
            _kill((await _soon(lambda: _workers(running)))[round_ % 2 - 1])
            await _so_many_more(answered)
            _kill((await _soon(lambda: _postgres(running)))[0])
        await _so_many_more(answered)
        stop.set()
        await asyncio.gather(*load)
        await _until_ready(http)
        await _until_no_hold_is_open(running)

    charges = await _charges(running)
    for request_id, charge in answered.items():
        assert charges[request_id] == charge, "an answer that was paid for is in the books, at what its header said"
    balance = json.loads(command(running.environment, "credits", "balance", org, "--json"), parse_float=Decimal)
    assert balance["held"] == 0
    assert balance["balance"] == 100 - sum(charges.values())
    found = json.loads(command(running.environment, "verify", "--json"))
    assert found["broken"] is None


async def _call_until(stop, http, key, number, answered):
    body = {"model": "demo", "messages": [{"role": "user", "content": f"call {number}"}], "max_tokens": 50}
    while not stop.is_set():
        with contextlib.suppress(httpx.TransportError):
            answer = await http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
            # While the database is away calls are refused; none is ever answered without having been paid.
            assert answer.status_code in {200, 500, 502, 503}, answer.text
            if answer.status_code == 200:
                answered[answer.headers["x-request-id"]] = Decimal(answer.headers["x-tallystick-cost"])
            else:
                await asyncio.sleep(0.05)


def _tree(running):
    port = str(running.environment["TALLYSTICK_PORT"])
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[-2:] == ["tallystick", "serve"] and process.environ().get("TALLYSTICK_PORT") == port:
            return process.children(recursive=True)
    raise AssertionError("the server is not running")


def _workers(running):
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in _tree(running) if "tallystick.app.worker" in " ".join(child.cmdline())]
    return []


def _postgres(running):
    data = running.environment["TALLYSTICK_DATA_DIR"]
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        # The one that the others are children of.
        if process.info["name"] == "postgres" and any(word.startswith(data) for word in words):
            return [process]
    return []


async def _soon(find):
    """What was killed a moment ago is being started again."""
    async with asyncio.timeout(60):
        while not (found := find()):
            await asyncio.sleep(0.05)
        return found


def _kill(process):
    os.kill(process.pid, signal.SIGKILL)


async def _so_many_more(answered):
    """It is at work again."""
    before = len(answered)
    await eventually(lambda: len(answered) > before + 20)


async def _until_ready(http):
    async with asyncio.timeout(90):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.2)


async def _until_no_hold_is_open(running):
    async with asyncio.timeout(60):
        while await _fetch(running, "select 1 from hold where state = 'open'"):
            await asyncio.sleep(0.5)


async def _charges(running):
    rows = await _fetch(running, "select id, charge from usage_record")
    return {str(row["id"]): Decimal(row["charge"]) / 10**9 for row in rows}


async def _fetch(running, query):
    async with EmbeddedPostgres(Path(running.environment["TALLYSTICK_DATA_DIR"])) as server:
        connection = await asyncpg.connect(server.dsn)
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()
