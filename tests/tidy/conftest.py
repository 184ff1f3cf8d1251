"""What can be read off the files and no linter says. Each rule has a test that shows a breach of it being found."""

import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return _ROOT


@pytest.fixture(scope="session")
def files() -> dict[Path, str]:
    """The text files of the repository by their path in it: what git has, and what it would take."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [Path(name) for name in listing.stdout.split("\0") if name and (_ROOT / name).is_file()]
    return {name: (_ROOT / name).read_text() for name in names if name.suffix not in {".png", ".pdf"}}


@pytest.fixture(scope="session")
def modules(files: dict[Path, str]) -> dict[Path, str]:
    """Those that are Python."""
    return {path: text for path, text in files.items() if path.suffix == ".py"}


@pytest.fixture(scope="session")
def product(modules: dict[Path, str]) -> dict[Path, str]:
    """Those that are installed."""
    return {path: text for path, text in modules.items() if path.is_relative_to("src")}
