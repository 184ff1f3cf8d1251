"""How long to measure, and the lines that say how far it has come."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Final

_BEGUN: Final = time.monotonic()


@dataclass(frozen=True, slots=True)
class Effort:
    """Both sides of a ratio are measured in turn, `rounds` times, so that a noisy neighbour meets both alike."""

    rounds: int
    seconds: float


FULL: Final = Effort(rounds=5, seconds=6)
QUICK: Final = Effort(rounds=1, seconds=1)


def say(line: str) -> None:
    """Progress, on standard error: standard output is for the report."""
    print(f"[{time.monotonic() - _BEGUN:6.1f}s] {line}", file=sys.stderr, flush=True)


def middle(values: Iterable[float]) -> float:
    """The median: what rounds are summed up by."""
    return median(values)
