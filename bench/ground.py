"""What a gateway needs before it starts: an embedded PostgreSQL with fsync on, a catalog, a customer with credits."""

import contextlib
import os
import secrets
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.effort import say
from bench.embedded import embedded_postgres
from bench.load import Call, status
from bench.processes import Tree, find, free_port, running, wait_until
from tallystick.app.world import command
from tallystick.base.money import parse_amount

PATH: Final = "/v1/chat/completions"
_CREDITS: Final = "1000000"
_CATALOG: Final = """
[[provider]]
name = "{alias}"
base_url = "{address}/v1"
credential = {{ env = "BENCH_PROVIDER_KEY" }}

[[cost_profile]]
provider = "{alias}"
model = "bench-model"
input = 0.15
cached_input = 0.075
output = 0.60
context_tokens = 128000
output_tokens_max = 16384

[[price]]
provider = "{alias}"
model = "bench-model"
markup = 1.25

[[route]]
alias = "{alias}"
candidates = [{{ provider = "{alias}", model = "bench-model" }}]
"""


@dataclass(frozen=True, slots=True)
class Server:
    """`tallystick serve` with one worker."""

    address: str
    tree: Tree
    worker: Tree
    first_answer_s: float


@dataclass(frozen=True, slots=True)
class Ground:
    folder: Path
    environment: Mapping[str, str]
    dsn: str
    postgres: Tree
    key: str
    granted: int

    @contextlib.contextmanager
    def serve(self, body: Path) -> Iterator[Server]:
        """The server, from the moment at which it has answered `body` for the first time."""
        port = free_port()
        address, log = f"http://127.0.0.1:{port}", self.folder / "server.log"
        environment = {**self.environment, "TALLYSTICK_PORT": str(port)}
        begun = time.monotonic()
        with running([sys.executable, "-m", "tallystick", "serve"], log, environment=environment) as process:
            call = self.call(address, body)
            wait_until(lambda: status(call) == HTTPStatus.OK, process, log)
            first_answer_s = time.monotonic() - begun
            (worker,) = find(process.pid, "tallystick.app.worker")
            yield Server(address, Tree(process.pid), Tree(worker), first_answer_s)

    def call(self, address: str, body: Path) -> Call:
        return Call(f"{address}{PATH}", self.key, body)


@contextlib.asynccontextmanager
async def ground(upstreams: Mapping[str, str]) -> AsyncIterator[Ground]:
    """Prepare it all in a fresh folder. `upstreams` are the addresses of models, by the alias each is called by."""
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        folder = Path(name)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TALLYSTICK_", "STRIPE_"))},
            "TALLYSTICK_DATA_DIR": str(folder / "data"),
            "TALLYSTICK_SEALING_KEYS": f"bench:{b64encode(secrets.token_bytes(32)).decode()}",
            "BENCH_PROVIDER_KEY": "sk-offline-provider",
        }
        say("Starting PostgreSQL, publishing a catalog, granting credits")
        async with embedded_postgres() as (dsn, postgres):
            environment["DATABASE_URL"] = dsn
            catalog = folder / "catalog.toml"
            catalog.write_text("".join(_CATALOG.format(alias=a, address=where) for a, where in upstreams.items()))
            command(environment, "apply", str(catalog))
            organization = _json(environment, "orgs", "create", "Bench")["id"]
            key = _json(environment, "keys", "create", organization)["key"]
            command(environment, "credits", "grant", organization, _CREDITS)
            yield Ground(folder, environment, dsn, postgres, key, parse_amount(_CREDITS))


def _json(environment: dict[str, str], *words: str) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.json.decode(command(environment, *words, "--json"))
    return told
