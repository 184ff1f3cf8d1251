"""Each benchmark from its start to its reconciled books, as short as it goes: that it runs, not what it measures."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from bench import gateway, growth, start, streams
from bench.effort import QUICK
from bench.report import Row, Skipped


async def test_the_start_is_measured_up_to_a_paid_answer() -> None:
    (row,) = await start.run(QUICK)
    assert isinstance(row, Row)
    assert row.value > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "figures"), [(gateway.run, 4), (streams.run, 1), (partial(growth.run, transfers=20_000), 2)]
)
async def test_every_benchmark_ends_with_its_figures(run: Callable[..., Any], figures: int) -> None:
    rows = await run(QUICK)
    assert len(rows) == figures
    assert all(isinstance(row, Skipped) or row.value > 0 for row in rows)
