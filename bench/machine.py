"""Where a figure was measured: the machine, and the versions of everything that took part."""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tallystick.base.postgres_binaries import find_binaries


def description(argv: list[str], *, litellm: str | None = None) -> str:
    """The machine, the versions and the exact command, as Markdown lines."""
    postgres = _first_line([find_binaries().program("postgres"), "--version"])
    facts = {
        "command": f"`{shlex.join(['python', '-m', 'bench', *argv])}`",
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load before the run": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "PostgreSQL": f"{_first_number(postgres)}, embedded, fsync on",
        **dict(_versions()),
    }
    if litellm:
        facts["litellm"] = litellm
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _versions() -> Iterator[tuple[str, str]]:
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}, {_built()}"
    for package in ("tallystick", "uvicorn", "uvloop", "httptools", "aiohttp", "asyncpg"):
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"
    for program in ("nginx", "wrk"):
        path = shutil.which(program)
        yield program, _first_number(_first_line([path, "-v"])) if path else "not installed"


def _built() -> str:
    """It is a fifth or so of everything that Python does."""
    if "deb_system" in sysconfig.get_scheme_names():
        # Whose rules optimise without telling configure.
        return "Debian's build, optimised by profile"
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"built {'with' if optimised else 'without'} optimisation by profile"


def _first_line(command: list[str]) -> str:
    """The first line a program prints about itself; some print it as an error, and some exit with one."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines()[0].strip()


def _first_number(text: str) -> str:
    match = re.search(r"\d+(\.\d+)+", text)
    return match[0] if match else text


def _cpu_model() -> str:
    if sys.platform == "linux":
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if match:
            return match[1]
    return platform.processor() or platform.machine()
