"""docs/how-to/usage-events.md: its catalog is applied, its requests are sent, its answers come."""

import contextlib
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tallystick.accounts import api_key, user
from tallystick.accounts.authenticate import KeyRing
from tallystick.api.app import create_api
from tallystick.api.dependencies import ApiDependencies
from tallystick.base.changes import Changes
from tallystick.base.database import open_pool
from tallystick.catalog.meters import BUILT_IN
from tallystick.catalog.publish import apply
from tallystick.catalog.read import load_book
from tallystick.metering.lateness import DEFAULT
from tallystick.reservations.lanes import Lanes

HOW_TO = (Path(__file__).parents[2] / "docs" / "how-to" / "usage-events.md").read_text()
TOKEN = "services-token-0123456789"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO, re.DOTALL)


@pytest.fixture
async def sent(dsn, pool):
    """Send a request of the page as it stands there, for real people; the API has the page's catalog."""
    async with contextlib.AsyncExitStack() as stack:
        api_pool = await stack.enter_async_context(await open_pool(dsn))
        async with pool.acquire() as connection:
            await apply(connection, blocks("toml")[0], now=datetime.now(UTC))
            book = await load_book(connection, lambda _reference: None)
            ada = await user.sign_up(pool, email="ada@example.com", password="correct horse")
            key = await api_key.create(connection, organization=ada.organization_id, name="laptop")
        lanes, changes = Lanes(dsn), Changes(dsn)
        await lanes.start()
        stack.push_async_callback(lanes.stop)
        app = create_api(
            ApiDependencies(
                pool=api_pool, lanes=lanes, changes=changes, keyring=KeyRing(api_pool, changes), book=lambda: book,
                public_url="http://pay.example.com", service_tokens=(TOKEN,),
            )
        )  # fmt: skip
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pay.example.com")
        )
        real = {"<token>": TOKEN, "tsk_...": key.secret, "user_...": ada.user_id, "org_...": ada.organization_id}

        async def send(written, extra=""):
            for name, value in real.items():
                written = written.replace(name, value)
            head, _, body = written.partition("\n\n")
            line, *headers = head.splitlines()
            method, path = line.split()
            fields = dict(header.split(": ", 1) for header in headers)
            return await client.request(method, path + extra, headers=fields, content=body.encode())

        send.organization = ada.organization_id
        yield send


def same(told, written):
    """The answer as it is written, but for what is left open there."""
    if isinstance(written, dict):
        return set(told) == set(written) and all(same(told[name], written[name]) for name in written)
    if isinstance(written, list):
        return len(told) == len(written) and all(map(same, told, written))
    return told == written or (isinstance(written, str) and written.endswith("...") and isinstance(told, str))


async def test_the_requests_of_the_page_have_its_answers(sent, dsn):
    report, read = blocks("http")
    for request, answer in zip((report, read), map(json.loads, blocks("json")), strict=True):
        told = (await sent(request)).json()
        assert same(told, answer), told
    assert [one["outcome"] for one in (await sent(report)).json()["results"]] == ["repeated", "repeated", "refused"]
    table = await sent(read, "&format=csv")
    assert table.text.replace("\r\n", "\n") == blocks("csv")[0]
    (command,) = blocks("sh")
    words = command.replace("org_...", sent.organization).split()
    assert json.loads(_run(dsn, *words, "--json")) == (await sent(read)).json()
    shown = _run(dsn, *words)
    assert re.search(r"^ocr-2 +document_page +12 +0\.01$", shown, re.MULTILINE)
    assert shown.endswith("0.01 credits charged in all.\n")


def _run(dsn, *words):
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, "DATABASE_URL": dsn},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_the_page_names_every_built_in_meter_and_the_real_policy():
    named = HOW_TO.split("Built in are")[1].split("Others")[0]
    assert set(re.findall(r"`(\w+)`", named)) == set(BUILT_IN)
    assert (DEFAULT.grace.days, DEFAULT.ahead.seconds) == (3, 5 * 60)
