"""Start-up: from the start of `tallystick serve`, the database being up, to its first paid answer."""

import asyncio
import tempfile
from pathlib import Path

from bench.books import reconcile
from bench.effort import Effort, middle, say
from bench.ground import Ground, ground
from bench.load import write_body
from bench.model import whole_answers
from bench.report import Figure, Row, at_most


async def run(effort: Effort) -> list[Figure]:
    """The figure of the start, with the books reconciled at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, whole_answers(Path(name)) as upstream:
        async with ground({"whole": f"http://127.0.0.1:{upstream}"}) as prepared:
            times_s = await asyncio.to_thread(_measure, prepared, effort)
            await reconcile(prepared.dsn, granted=prepared.granted, calls=len(times_s))
    told = ", ".join(f"{each:.2f}" for each in times_s)
    return [Row("start to first paid answer, the database being up", middle(times_s), "s", told, at_most(2))]


def _measure(prepared: Ground, effort: Effort) -> list[float]:
    body = write_body(prepared.folder)
    times_s = []
    for _ in range(max(effort.rounds, 1)):
        with prepared.serve(body) as server:
            times_s.append(server.first_answer_s)
            say(f"First answer after {server.first_answer_s:.2f} s")
    return times_s
