"""Model providers that others wrote, each in a process of its own."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.trust import trusting_all

TESTS = Path(__file__).parents[2]
sys.path.insert(0, str(TESTS / "gateway"))

AIMOCK = "@copilotkit/aimock@1.43.0"
_NPM_FOLDER = TESTS / ".cache" / "npm" / "aimock"


@pytest.fixture
async def llmock_url() -> AsyncIterator[str]:
    program = Path(sys.executable).with_name("llmock")
    async with _running(str(program), "serve", "--host", "127.0.0.1", "--port", "{port}") as url:
        yield url


@pytest.fixture
async def aimock_url(tmp_path: Path) -> AsyncIterator[str]:
    program = await _aimock()
    fixtures = tmp_path / "fixtures.json"
    fixtures.write_text((Path(__file__).with_name("aimock.json")).read_text())
    async with _running(str(program), "--port", "{port}", "--fixtures", str(fixtures), "--log-level", "silent") as url:
        yield url


async def _aimock() -> Path:
    """The program, installed at exactly this version on the first use. Without npm: skipped loudly, never in CI."""
    program = _NPM_FOLDER / "node_modules" / ".bin" / "llmock"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"npm is needed for {AIMOCK}, and CI must not pass without it")
        pytest.skip(f"NOT TESTED: npm is missing, so {AIMOCK} cannot be run")
    _NPM_FOLDER.mkdir(parents=True, exist_ok=True)
    install = await asyncio.create_subprocess_exec(
        *(npm, "install", "--prefix", str(_NPM_FOLDER), "--no-audit", "--no-fund", "--ignore-scripts", AIMOCK),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=trusting_all(),
    )
    said, _ = await asyncio.wait_for(install.communicate(), 120)
    assert install.returncode == 0, said.decode()
    return program


@contextlib.asynccontextmanager
async def _running(*command: str) -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(word.replace("{port}", str(port)) for word in command),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while process.returncode is None:
                try:
                    await client.get(url)
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        assert process.returncode is None, f"{command[0]} did not start"
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
