"""LiteLLM's proxy, bare - no keys, no budgets, no database - against the gateway with everything on: same upstream,
same load, one worker each. It is installed into an environment of its own."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import load
from bench.books import reconcile
from bench.effort import Effort, middle, say
from bench.gateway import CONNECTIONS, Pressed, press
from bench.ground import PATH, Ground, ground
from bench.model import whole_answers
from bench.processes import Tree, free_port, running, wait_until
from bench.report import Figure, Row, at_least

_HOME: Final = Path(__file__).parent.parent / "tests" / ".cache" / "litellm"
# At a hundred requests a second, 64 connections need this long to say anything.
_LEAST_S: Final = 5.0
_CONFIGURATION: Final = """\
model_list:
  - model_name: whole
    litellm_params:
      model: openai/bench-model
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: sk-offline-provider
"""


def version() -> str:
    """The installed version; installs it on first use."""
    _install()
    words = [str(_HOME / "bin" / "python"), "-c", "from importlib.metadata import version; print(version('litellm'))"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


async def run(effort: Effort) -> list[Figure]:
    """The figures against LiteLLM, with the books reconciled at the end."""
    _install()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, whole_answers(Path(name)) as upstream:
        async with ground({"whole": f"http://127.0.0.1:{upstream}"}) as prepared:
            figures, calls = await asyncio.to_thread(_measure, prepared, upstream, effort)
            await reconcile(prepared.dsn, granted=prepared.granted, calls=calls)
    return figures


def _measure(prepared: Ground, upstream: int, effort: Effort) -> tuple[list[Figure], int]:
    body = load.write_body(prepared.folder)
    with prepared.serve(body) as server, _litellm(prepared, upstream, body) as (other, tree):
        ours = prepared.call(server.address, body)
        rounds = [press(ours, [server.tree], CONNECTIONS, _LEAST_S)]
        others = [press(other, [tree], CONNECTIONS, _LEAST_S)]
        seconds = max(effort.seconds, _LEAST_S)
        for number in range(effort.rounds):
            others.append(press(other, [tree], CONNECTIONS, seconds))
            rounds.append(press(ours, [server.tree], CONNECTIONS, seconds))
            told = f"{rounds[-1].result.per_s:,.0f}/s over LiteLLM's {others[-1].result.per_s:,.0f}/s"
            say(f"Round {number + 1} of {effort.rounds}: {told}")
        memory = Row(
            "memory per worker over LiteLLM's",
            server.worker.pss_mb() / tree.pss_mb(),
            "x",
            f"{server.worker.pss_mb():.0f} MB over {tree.pss_mb():.0f} MB",
        )
    return [_faster(rounds[1:], others[1:]), memory], sum(one.result.requests for one in rounds)


def _faster(rounds: list[Pressed], others: list[Pressed]) -> Row:
    ratios = [mine.result.per_s / theirs.result.per_s for mine, theirs in zip(rounds, others, strict=True)]
    speeds = [middle(one.result.per_s for one in side) for side in (rounds, others)]
    cpu = middle(one.cpu_us[0] for one in others)
    basis = f"{speeds[0]:,.0f}/s over {speeds[1]:,.0f}/s (LiteLLM's CPU {cpu:,.0f} us per request)"
    return Row("requests/s over LiteLLM's proxy without keys, budgets or database", middle(ratios), "x", basis, _TARGET)


_TARGET: Final = at_least(25)


@contextlib.contextmanager
def _litellm(prepared: Ground, upstream: int, body: Path) -> Iterator[tuple[load.Call, Tree]]:
    port, log = free_port(), prepared.folder / "litellm.log"
    configuration = prepared.folder / "litellm.yaml"
    configuration.write_text(_CONFIGURATION.format(upstream=upstream))
    environment = {
        **os.environ,
        # It would fetch a price list and send telemetry: neither belongs in a measurement.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        # It is measured without keys, on the loopback interface only.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    environment.pop("DATABASE_URL", None)
    program = [str(_HOME / "bin" / "litellm"), "--config", str(configuration)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    say("Starting LiteLLM's proxy")
    with running([*program, *options], log, environment=environment) as process:
        call = load.Call(f"http://127.0.0.1:{port}{PATH}", "none", body)
        wait_until(lambda: load.status(call) == 200, process, log)
        yield call, Tree(process.pid)


def _install() -> None:
    if (_HOME / "bin" / "litellm").exists():
        return
    say(f"Installing LiteLLM into {_HOME}")
    subprocess.run([sys.executable, "-m", "venv", str(_HOME)], check=True)
    subprocess.run([str(_HOME / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"], check=True)
