"""What a benchmark found: rows with their targets, and the Markdown table they make."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


class WrongBooks(Exception):
    """The books do not add up after a run, so that its speed means nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a figure has to keep."""

    bound: float
    is_floor: bool

    def is_met_by(self, value: float) -> bool:
        return value >= self.bound if self.is_floor else value <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.is_floor else '<='} {self.bound:g}"


def at_least(bound: float) -> Target:
    return Target(bound, is_floor=True)


def at_most(bound: float) -> Target:
    return Target(bound, is_floor=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: a ratio within one run (unit "x"), or where only an absolute says something, a value with its unit.

    `basis` holds the measurements that the value was made of, for whoever doubts it.
    """

    figure: str
    value: float
    unit: str
    basis: str
    target: Target | None = None

    @property
    def is_met(self) -> bool:
        return self.target is None or self.target.is_met_by(self.value)

    def cells(self) -> tuple[str, ...]:
        target = f"{self.target} {self.unit}" if self.target else ""
        reached = "" if self.target is None else "yes" if self.is_met else "**no**"
        return self.figure, f"{amount(self.value)} {self.unit}", target, reached, self.basis


@dataclass(frozen=True, slots=True)
class Skipped:
    """A figure that could not be measured here, and why: it stands in the table, so that nobody thinks it was met."""

    figure: str
    reason: str
    is_met: bool = True

    def cells(self) -> tuple[str, ...]:
        return self.figure, "**skipped**", "", "", self.reason


Figure: TypeAlias = Row | Skipped


def medians(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Of each figure that several runs have measured, the row with the median value."""
    chosen: list[Figure] = []
    for same in zip(*runs, strict=True):
        rows = sorted((one for one in same if isinstance(one, Row)), key=lambda row: row.value)
        chosen.append(rows[len(rows) // 2] if rows else same[0])
    return chosen


def amount(value: float) -> str:
    """Three significant digits, as many as such measurements are worth; whole thousands with a separator."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(rows: Iterable[Figure]) -> str:
    """The rows as a Markdown table."""
    cells = [("Figure", "Measured", "Target", "Reached", "From"), ("---",) * 5, *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in cells)


def write(path: Path, section: str, text: str) -> None:
    """Replace what stands between the section's markers in the document; a new section goes to its end."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if found and not closed:
        raise ValueError(f"{path} has lost its line {end}")
    if not found:
        before, after = f"{before.rstrip()}\n\n", "\n"
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
