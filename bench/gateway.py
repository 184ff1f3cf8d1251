"""Paid calls through the gateway with everything on - key, durable hold, settlement, usage record, fsync - against
nginx as a plain proxy in front of the same upstream, in rounds that take turns."""

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
from bench.ground import Ground, Server, ground
from bench.model import whole_answers
from bench.processes import Tree
from bench.report import Figure, Row, Skipped, at_most

CONNECTIONS: Final = 64
_CPU: Final = "gateway with everything on, 64 connections: CPU of gateway + PostgreSQL per request over nginx's"
_SPEED: Final = "the same: requests/s over nginx's"


@dataclass(frozen=True, slots=True)
class Pressed:
    """One round of load, and the CPU that each side took for a request, in microseconds."""

    result: load.Result
    cpu_us: tuple[float, ...]


def press(call: load.Call, trees: Sequence[Tree], connections: int, seconds: float) -> Pressed:
    """A round of load while the CPU of the trees is read."""
    before = [tree.cpu_s() for tree in trees]
    result = load.press(call, connections=connections, seconds=seconds)
    # What was in flight when the clients left is settled first: its CPU belongs to the round.
    time.sleep(0.2)
    used = [tree.cpu_s() - was for tree, was in zip(trees, before, strict=True)]
    return Pressed(result, tuple(each / result.requests * 1e6 for each in used))


async def run(effort: Effort) -> list[Figure]:
    """The figures of whole answers, with the books reconciled at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, whole_answers(Path(name)) as upstream:
        async with ground({"whole": f"http://127.0.0.1:{upstream}"}) as prepared:
            # In a thread, so that the link to PostgreSQL's supervisor stays alive beside the measurement.
            figures, calls = await asyncio.to_thread(_measure, prepared, upstream, effort)
            await reconcile(prepared.dsn, granted=prepared.granted, calls=calls)
    return figures


def _measure(prepared: Ground, upstream: int, effort: Effort) -> tuple[list[Figure], int]:
    body = load.write_body(prepared.folder)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(prepared.serve(body))
        through = prepared.call(server.address, body)
        trees = (server.tree, prepared.postgres)
        say("Warming up")
        rounds = [press(through, trees, CONNECTIONS, effort.seconds)]
        baselines: list[Pressed] = []
        if nginx.is_installed():
            proxy = stack.enter_context(nginx.proxy(prepared.folder, upstream))
            plain = prepared.call(proxy.address, body)
            press(plain, [proxy.tree], CONNECTIONS, 1)
        for number in range(effort.rounds):
            if nginx.is_installed():
                baselines.append(press(plain, [proxy.tree], CONNECTIONS, effort.seconds))
            rounds.append(press(through, trees, CONNECTIONS, effort.seconds))
            say(f"Round {number + 1} of {effort.rounds}: {_told(rounds[-1], baselines[-1:])}")
        figures = _against_nginx(rounds[1:], baselines)
        direct = prepared.call(f"http://127.0.0.1:{upstream}", body)
        alone, latency = _added_latency(direct, through, effort)
        figures += [latency, _memory(server)]
        return figures, sum(one.result.requests for one in rounds) + alone


def _told(paid: Pressed, plain: Sequence[Pressed]) -> str:
    told = f"{paid.result.per_s:,.0f}/s, gateway {paid.cpu_us[0]:.0f} us, PostgreSQL {paid.cpu_us[1]:.0f} us"
    return told + "".join(f"; nginx {one.result.per_s:,.0f}/s, {one.cpu_us[0]:.1f} us" for one in plain)


def _against_nginx(rounds: Sequence[Pressed], baselines: Sequence[Pressed]) -> list[Figure]:
    per_s = middle(one.result.per_s for one in rounds)
    p50, p99 = middle(one.result.p50_ms for one in rounds), middle(one.result.p99_ms for one in rounds)
    speed = f"{per_s:,.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    gateway, postgres = (middle(one.cpu_us[side] for one in rounds) for side in (0, 1))
    cpu = f"gateway {gateway:.0f} us + PostgreSQL {postgres:.0f} us"
    if not baselines:
        say("SKIPPED: nginx is not installed, so that there is nothing to compare the gateway with")
        return [Skipped(_CPU, f"nginx is not installed; {cpu}"), Skipped(_SPEED, f"nginx is not installed; {speed}")]
    pairs = list(zip(rounds, baselines, strict=True))
    plain_us = middle(one.cpu_us[0] for one in baselines)
    plain_per_s = middle(one.result.per_s for one in baselines)
    return [
        Row(
            _CPU,
            middle(sum(paid.cpu_us) / plain.cpu_us[0] for paid, plain in pairs),
            "x",
            f"{cpu} over {plain_us:.1f} us",
            at_most(12),
        ),
        Row(
            _SPEED,
            middle(paid.result.per_s / plain.result.per_s for paid, plain in pairs),
            "x",
            f"{speed}, over {plain_per_s:,.0f}/s",
        ),
    ]


def _added_latency(direct: load.Call, through: load.Call, effort: Effort) -> tuple[int, Row]:
    """How much longer a call takes that is alone; and how many calls that made."""
    say("One connection, directly and through the gateway")
    pairs = []
    for _ in range(effort.rounds):
        bare = load.press(direct, connections=1, seconds=min(effort.seconds, 3))
        pairs.append((bare, load.press(through, connections=1, seconds=min(effort.seconds, 3))))
    added = middle(paid.p50_ms - bare.p50_ms for bare, paid in pairs)
    basis = f"p50 {middle(paid.p50_ms for _, paid in pairs):.2f} ms, directly {middle(b.p50_ms for b, _ in pairs):.2f}"
    row = Row("added p50 at one connection, with the durable hold", added, "ms", f"{basis} ms", at_most(3))
    return sum(paid.requests for _, paid in pairs), row


def _memory(server: Server) -> Row:
    basis = "proportional set size of the worker after all rounds"
    return Row("memory per worker", server.worker.pss_mb(), "MB", basis, at_most(120))
