"""What a benchmark found: rows with their targets, and the Markdown table they make."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BEGIN: Final = "<!-- figures:begin -->"
_END: Final = "<!-- figures:end -->"


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


def amount(value: float) -> str:
    """Three significant digits, as many as such measurements are worth; whole thousands with a separator."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    cells = [("Figure", "Measured", "Target", "Reached", "From"), ("---",) * 5, *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in cells)


def write(path: Path, sections: Sequence[str]) -> None:
    """Put the sections between the markers of the document, and leave the rest of it as it is."""
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path} has lost its lines {_BEGIN} and {_END}")
    path.write_text("\n\n".join([before + begin, *sections, end + after]))
