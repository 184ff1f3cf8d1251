"""The README's own words, run: its catalog, its commands and its Python, against the offline world."""

import asyncio
import contextlib
import io
import json
import re
import shlex
from decimal import Decimal
from pathlib import Path

import httpx

from tallystick.app.world import command, world

README = Path(__file__).parents[2].joinpath("README.md").read_text()


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_what_the_readme_says_works(tmp_path):
    (catalog,) = _blocks("toml")
    call, deduct, gate = _blocks("python")
    with world(progress=lambda _line: None) as running:
        # Offline, the provider is the stand-in; its key is the one the world's server was started with.
        offline = catalog.replace("https://api.openai.com/v1", f"{running.model_address}/v1")
        (tmp_path / "catalog.toml").write_text(offline.replace("OPENAI_API_KEY", "WORLD_PROVIDER_KEY"))
        known = {}
        for words in _commands():
            typed = [str(tmp_path / word) if word == "catalog.toml" else known.get(word, word) for word in words]
            said = command(running.environment, *typed)
            known |= {f"{found[:4]}...": found for found in re.findall(r"\b(?:org|tsk)_\w{20,}", said)}

        printed = _run(call, {"http://127.0.0.1:8080": running.address, "tsk_...": known["tsk_..."]})
        assert Decimal(printed) > 0
        balance = command(running.environment, "credits", "balance", known["org_..."], "--json")
        assert json.loads(balance, parse_float=Decimal)["balance"] == 5 - Decimal(printed)

        told = {"http://127.0.0.1:8080": running.address, '"..."': f'"{running.services_token}"'}
        told |= {"user_...": known["org_..."]}
        assert _run(deduct, told) == _run(deduct, told) == ""
        after = command(running.environment, "credits", "balance", known["org_..."], "--json")
        assert json.loads(after, parse_float=Decimal)["balance"] == 5 - Decimal(printed) - Decimal("0.05")

        del told["user_..."]
        statuses = asyncio.run(_gated(_replaced(gate, told), known["org_..."], times=12))
        assert statuses == [200] * 10 + [429] * 2


def _commands():
    for block in _blocks("sh"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            # The server runs already, in the world.
            if words[:1] == ["tallystick"] and words[1] != "serve":
                yield words[1:]


def _run(code, replacements):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(_replaced(code, replacements), {"__name__": "readme"})
    return printed.getvalue().strip()


def _replaced(code, replacements):
    for written, real in replacements.items():
        assert written in code
        code = code.replace(written, real)
    return code


async def _gated(code, user, times):
    """How the application of this code answers, as a server runs it."""
    names = {"__name__": "readme"}
    exec(code, names)
    app = names["app"]
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app.example.com", headers={"x-user": user}) as client,
    ):
        return [(await client.post("/api/ads/generate")).status_code for _ in range(times)]
