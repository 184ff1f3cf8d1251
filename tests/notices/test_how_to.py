"""The page on webhooks names every type that there is, and the waits as they are."""

import re
from datetime import timedelta
from pathlib import Path

from tallystick.notices.backoff import DELAYS
from tallystick.notices.endpoint import ENDPOINTS_MAX, OVERLAP_MAX
from tallystick.notices.notice_type import TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "webhooks.md").read_text()


def named(page: str) -> set[str]:
    """Types in the first column of the table, where `.paid` stands for one of the same noun."""
    found = set()
    for cell in re.findall(r"^\| (`[a-z_]+\.[a-z_]+`[^|]*) \|", page, re.MULTILINE):
        first, *others = re.findall(r"`([a-z_.]+)`", cell)
        noun = first.partition(".")[0]
        found |= {first, *(f"{noun}{other}" for other in others)}
    return found


def test_the_types_are_those_that_there_are() -> None:
    assert named(PAGE) == set(TYPES)


def test_the_numbers_are_true() -> None:
    assert DELAYS[:4] == tuple(timedelta(seconds=s) for s in (5, 30, 120, 600))
    assert DELAYS[-1] == timedelta(days=1)
    assert len(DELAYS) + 1 == 12
    assert f"at most {ENDPOINTS_MAX}" in PAGE
    assert timedelta(hours=24) <= OVERLAP_MAX
