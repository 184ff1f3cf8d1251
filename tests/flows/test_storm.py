"""Ten thousand calls at once with funds for a thousand: what cannot be paid is refused, to the nanocredit."""

import asyncio
import json
from decimal import Decimal

import aiohttp
import httpx
import pytest

from tallystick.app.world import command, world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def test_no_more_is_spent_than_there_is():
    with world(workers=2, progress=lambda _line: None) as running:
        _, rich = _customer(running, "1")
        answers = await _storm(running.address, rich, 1)
        (each,) = answers[200]
        org, poor = _customer(running, f"{each * 1000:f}")

        answers = await _storm(running.address, poor, 10_000)

        assert set(answers) == {200, 402}
        assert sum(map(len, answers.values())) == 10_000
        assert 0 < len(answers[200]) <= 1000
        balance = json.loads(command(running.environment, "credits", "balance", org, "--json"), parse_float=Decimal)
        assert balance["held"] == 0
        assert balance["balance"] == each * 1000 - sum(answers[200])
        # What was let through was called, and nothing else: one call more is the first one, of the rich customer.
        calls = httpx.get(f"{running.model_address}/_sandbox/calls").json()
        assert calls["total"] == len(answers[200]) + 1
        assert json.loads(command(running.environment, "verify", "--json"))["broken"] is None


def _customer(running, funds):
    org = json.loads(command(running.environment, "orgs", "create", "Storm", "--json"))["id"]
    command(running.environment, "credits", "grant", org, funds)
    return org, json.loads(command(running.environment, "keys", "create", org, "--json"))["key"]


async def _storm(address, key, number):
    """What each call was charged, by status."""
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 10}
    answers = {}
    connector, limit = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(address, connector=connector, timeout=limit) as http:

        async def call():
            headers = {"authorization": f"Bearer {key}"}
            async with http.post("/v1/chat/completions", json=body, headers=headers) as answer:
                await answer.read()
                charge = Decimal(answer.headers.get("x-tallystick-cost", "0"))
                answers.setdefault(answer.status, []).append(charge)

        await asyncio.gather(*(call() for _ in range(number)))
    return answers
