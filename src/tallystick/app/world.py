"""A whole world on this machine, offline: a model provider, a Stripe, the server, and a catalog that joins them."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tallystick.base.errors import Misconfigured

_START_LIMIT_S: Final = 60.0
_STOP_LIMIT_S: Final = 40.0
_LOG_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class World:
    """Where everything listens, and the environment in which `tallystick` commands speak to the same books."""

    address: str
    model_address: str
    stripe_address: str
    services_token: str
    environment: dict[str, str]


@contextlib.contextmanager
def world(*, workers: int = 1, port: int | None = None, progress: Callable[[str], None]) -> Iterator[World]:
    """Start it all in a fresh folder, hand it over, and leave nothing running or lying about afterwards."""
    with tempfile.TemporaryDirectory(prefix="tallystick-world-") as folder, contextlib.ExitStack() as stack:
        # Where root runs this, PostgreSQL runs as someone else, who must be able to pass through to its own folder.
        Path(folder).chmod(0o711)
        port = port or _free_port()
        address = f"http://127.0.0.1:{port}"
        webhook_secret = f"whsec_{secrets.token_hex(16)}"

        progress("Starting the model provider and the offline Stripe")
        model = stack.enter_context(_stand_in("model", folder))
        stripe = stack.enter_context(
            _stand_in(
                "stripe",
                folder,
                *("--webhook-url", f"{address}/api/credits/webhook", "--webhook-secret", webhook_secret),
            )
        )
        services_token = secrets.token_urlsafe(24)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TALLYSTICK_", "STRIPE_"))},
            "TALLYSTICK_DATA_DIR": str(Path(folder, "data")),
            "TALLYSTICK_PORT": str(port),
            "TALLYSTICK_WORKERS": str(workers),
            "TALLYSTICK_SERVICES_TOKENS": services_token,
            "TALLYSTICK_SEALING_KEYS": f"world:{b64encode(secrets.token_bytes(32)).decode()}",
            "TALLYSTICK_WEBHOOKS_TO_LOOPBACK": "true",
            "STRIPE_API_KEY": "sk_test_offline_0000000000000000",
            "STRIPE_API_BASE": stripe,
            "STRIPE_WEBHOOK_SECRET": webhook_secret,
            "WORLD_PROVIDER_KEY": "sk-offline-provider",
        }
        environment.pop("DATABASE_URL", None)

        progress("Starting PostgreSQL and the server")
        stack.enter_context(_server(folder, address, environment))
        catalog = Path(folder, "catalog.toml")
        catalog.write_text(_catalog(model))
        progress("Publishing the catalog")
        command(environment, "apply", str(catalog))
        try:
            yield World(address, model, stripe, services_token, environment)
        except Exception:
            # The folder goes away with the world; what the server said about the fault must not.
            for line in Path(folder, "server.log").read_text().splitlines()[-_LOG_LINES:]:
                progress(line)
            raise


def command(environment: dict[str, str], *words: str) -> str:
    """Run one `tallystick` command in the world; its output. Raises Misconfigured with what it said when it fails."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "tallystick", *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Misconfigured(f"`tallystick {' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _catalog(model_address: str) -> str:
    template = Path(__file__).with_name("world.toml").read_text()
    return template.replace("{model_address}", model_address)


@contextlib.contextmanager
def _stand_in(name: str, folder: str, *options: str) -> Iterator[str]:
    """A stand-in as a process of its own; it prints its address when it is ready."""
    words = [sys.executable, "-m", f"tallystick.sandbox.{name}", "--port", "0", *options]
    with _process(words, Path(folder, f"{name}.log"), stdout=subprocess.PIPE) as process:
        if process.stdout is None:
            raise RuntimeError("a stand-in was started without its output")
        line = process.stdout.readline().decode().strip()
        if not line.startswith("http"):
            raise Misconfigured(f"The {name} stand-in did not start:\n{Path(folder, f'{name}.log').read_text()}")
        yield line


@contextlib.contextmanager
def _server(folder: str, address: str, environment: dict[str, str]) -> Iterator[None]:
    log = Path(folder, "server.log")
    with _process([sys.executable, "-m", "tallystick", "serve"], log, environment=environment) as process:
        give_up = time.monotonic() + _START_LIMIT_S
        while not _ready(address):
            if process.poll() is not None or time.monotonic() > give_up:
                raise Misconfigured(f"The server did not start. Its log:\n{log.read_text()}")
            time.sleep(0.05)
        yield


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def _process(
    words: list[str], log: Path, *, environment: dict[str, str] | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own processes
            words, env=environment, stdin=subprocess.DEVNULL, stdout=stdout or errors, stderr=errors,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
