"""Paced streams: what one event costs on its way through the gateway, over what it costs nginx."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import load, nginx
from bench.books import reconcile
from bench.effort import Effort, middle, say
from bench.ground import Ground, ground
from bench.model import paced_answers
from bench.processes import Tree
from bench.report import Figure, Row, Skipped, at_most

_STREAMS: Final = 100
_TOKENS: Final = 200
_BETWEEN_MS: Final = 20.0
_FIGURE: Final = "paced streams: CPU of gateway + PostgreSQL per event over nginx's"


@dataclass(frozen=True, slots=True)
class Passed:
    """One round of streams, and the CPU that each side took for an event, in microseconds."""

    result: load.Result
    cpu_us: tuple[float, ...]


async def run(effort: Effort) -> list[Figure]:
    """The figure of streams, with the books reconciled at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, paced_answers(Path(name), _BETWEEN_MS) as upstream:
        async with ground({"paced": f"http://127.0.0.1:{upstream}"}) as prepared:
            figures, calls = await asyncio.to_thread(_measure, prepared, upstream, effort)
            await reconcile(prepared.dsn, granted=prepared.granted, calls=calls)
    return figures


def _measure(prepared: Ground, upstream: int, effort: Effort) -> tuple[list[Figure], int]:
    # Quick streams are short: a round lasts at least as long as one stream.
    body = load.write_stream_body(prepared.folder, _TOKENS if effort.seconds > 1 else _TOKENS // 10)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(prepared.serve(body))
        through, trees = prepared.call(server.address, body), (server.tree, prepared.postgres)
        rounds = [_pass(through, trees, 1)]
        if not nginx.is_installed():
            say("SKIPPED: nginx is not installed, so that there is nothing to compare streams with")
            rounds.append(_pass(through, trees, effort.seconds))
            return [Skipped(_FIGURE, f"nginx is not installed; {_cpu(rounds[1:])}")], _calls(rounds)
        proxy = stack.enter_context(nginx.proxy(prepared.folder, upstream))
        plain, baselines = prepared.call(proxy.address, body), []
        for number in range(effort.rounds):
            baselines.append(_pass(plain, [proxy.tree], effort.seconds))
            rounds.append(_pass(through, trees, effort.seconds))
            say(f"Round {number + 1} of {effort.rounds}: {_cpu(rounds[-1:])}; nginx {baselines[-1].cpu_us[0]:.1f} us")
    ratios = [sum(paid.cpu_us) / bare.cpu_us[0] for paid, bare in zip(rounds[1:], baselines, strict=True)]
    basis = f"{_cpu(rounds[1:])} over {middle(one.cpu_us[0] for one in baselines):.1f} us"
    return [Row(_FIGURE, middle(ratios), "x", basis, at_most(3))], _calls(rounds)


def _pass(call: load.Call, trees: Sequence[Tree], seconds: float) -> Passed:
    before = [tree.cpu_s() for tree in trees]
    result = load.read_streams(call, connections=_STREAMS, seconds=seconds)
    time.sleep(0.2)
    used = [tree.cpu_s() - was for tree, was in zip(trees, before, strict=True)]
    return Passed(result, tuple(each / result.events * 1e6 for each in used))


def _calls(rounds: Sequence[Passed]) -> int:
    return sum(one.result.requests for one in rounds)


def _cpu(rounds: Sequence[Passed]) -> str:
    gateway, postgres = (middle(one.cpu_us[side] for one in rounds) for side in (0, 1))
    per_s = middle(one.result.events / one.result.seconds for one in rounds)
    return f"gateway {gateway:.1f} us + PostgreSQL {postgres:.1f} us at {per_s:,.0f} events/s"
