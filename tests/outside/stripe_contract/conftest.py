"""Three Stripes that know nothing of each other: ours, `localstripe` from PyPI and `emulate` from npm."""

import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import stripe

from tests.trust import trusting_all

EMULATE = "emulate@0.12.2"
# It uses module hooks that came with Node 22.15; an older Node gets a newer one as an npm package of its own.
NODE_OLDEST = (22, 15)
NODE_PACKAGE_VERSION = "24"
CACHE = Path(__file__).parents[2] / ".cache" / "npm" / "emulate"
SECRET = "whsec_contract"

# Started by its own command localstripe listens on every address of the machine and writes its state to a file that
# all of its processes share. Neither belongs in a test.
_LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda store: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


@dataclass
class Stripe:
    """A running Stripe and the official SDK on it."""

    name: str
    address: str
    client: stripe.StripeClient


class Receiver(ThreadingHTTPServer):
    """A webhook endpoint in a thread of its own: emulate answers a call only after its webhooks were taken."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.url = f"http://127.0.0.1:{self.server_port}/webhook"
        self.received: list[tuple[bytes, str]] = []

    def objects(self, kind: str) -> list[str]:
        """The ids that events of a type were about; the official SDK verifies each signature first."""
        events = [stripe.Webhook.construct_event(body, signature, SECRET) for body, signature in self.received]
        return [event.data.object["id"] for event in events if event.type == kind]


class _Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((body, self.headers["stripe-signature"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name the base class gave it
        """What came in is kept, not printed."""


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        serving = threading.Thread(target=receiver.serve_forever)
        serving.start()
        yield receiver
        receiver.shutdown()
        serving.join()


@pytest.fixture(scope="session")
def running(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The address of a Stripe, started the first time it is asked for and stopped with the last test."""
    addresses: dict[str, str] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> str:
            if name not in addresses:
                folder = tmp_path_factory.mktemp(name)
                addresses[name] = stack.enter_context(_STARTERS[name](receiver.url, folder))
            return addresses[name]

        yield start


@pytest.fixture
async def witness(request: pytest.FixtureRequest, running: Callable[[str], str]) -> AsyncIterator[Stripe]:
    """The Stripe that a test is parametrized with."""
    address = running(request.param)
    http_client = stripe.AIOHTTPClient()
    client = stripe.StripeClient("sk_test_contract", base_addresses={"api": address}, http_client=http_client)
    yield Stripe(request.param, address, client)
    await http_client.close_async()


@contextlib.contextmanager
def _sandbox(webhook_url: str, _: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tallystick.sandbox.stripe", "--webhook-url", webhook_url]
    with _running([*command, "--webhook-secret", SECRET, "--port", str(port := _free_port())]):
        yield _answering(port)


@contextlib.contextmanager
def _localstripe(webhook_url: str, _: Path) -> Iterator[str]:
    with _running([sys.executable, "-c", _LOCALSTRIPE, str(port := _free_port())]):
        address = _answering(port)
        registration = {"url": webhook_url, "secret": SECRET}
        httpx.post(f"{address}/_config/webhooks/contract", json=registration).raise_for_status()
        yield address


@contextlib.contextmanager
def _emulate(webhook_url: str, folder: Path) -> Iterator[str]:
    node, script = _installed()
    seed = folder / "seed.json"
    webhook = {"url": webhook_url, "secret": SECRET, "events": ["*"]}
    seed.write_text(json.dumps({"stripe": {"webhooks": [webhook]}}))
    command = [node, script, "start", "--service", "stripe", "--seed", str(seed), "--port", str(port := _free_port())]
    with _running(command):
        yield _answering(port)


_STARTERS = {"sandbox": _sandbox, "localstripe": _localstripe, "emulate": _emulate}


def _installed() -> tuple[str, str]:
    """The paths of a fitting Node and of emulate, installed on first use by npm."""
    npm = shutil.which("npm")
    if npm is None:
        problem = f"npm is not installed: nothing was compared with {EMULATE}"
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    CACHE.mkdir(parents=True, exist_ok=True)
    script = CACHE / "node_modules" / "emulate" / "dist" / "index.js"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may come here at once
        node = _node(npm)
        if not script.exists():
            _install(npm, EMULATE)
    return node, str(script)


def _node(npm: str) -> str:
    found = shutil.which("node")
    if found is not None:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        major, minor = (int(part) for part in re.findall(r"\d+", said)[:2])
        if (major, minor) >= NODE_OLDEST:
            return found
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"node-{sys.platform}-{machine}"
    node = CACHE / "node_modules" / package / "bin" / "node"
    if not node.exists():
        _install(npm, f"{package}@{NODE_PACKAGE_VERSION}")
    return str(node)


def _install(npm: str, package: str) -> None:
    options = ["--prefix", str(CACHE), "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(
        [npm, "install", *options, package], check=True, capture_output=True, timeout=120, env=trusting_all()
    )


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _answering(port: int) -> str:
    """The address, once somebody answers there."""
    for _ in range(300):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return f"http://127.0.0.1:{port}"
        time.sleep(0.05)
    pytest.fail(f"nothing answers on port {port}")
