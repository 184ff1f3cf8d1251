"""Every test that touches data gets its own PostgreSQL database, copied from one migrated template.

The server is our own embedded one, shared by the workers of a run and gone after it. TALLYSTICK_TEST_DATABASE_URL
names one that is already there instead; TALLYSTICK_TEST_POSTGRES other binaries, by their folder or as a version of the
system's.
"""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from tallystick.base.embedded_postgres import EmbeddedPostgres
from tallystick.base.migrate import migrate
from tallystick.base.postgres_binaries import Binaries, find_binaries, read_binaries
from tallystick.reservations.lanes import Lanes
from tests.database import RUN_VARIABLE, beside, create, drop
from tests.stand_in import STRIPE, started
from tests.trust import trust_one

# Hexadecimal digits that fit a lock's BIGINT key: whoever works on a run's databases holds that lock, shared.
_RUN_DIGITS = 15
_DATA_VARIABLE = "TALLYSTICK_TEST_DATA"
# The data is thrown away, so it need not survive a crash. Tests of crashes start servers of their own.
_THROWN_AWAY = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "400",
    "min_wal_size": "80MB",
    "max_wal_size": "512MB",
}
# A database is hundreds of files: 12 ms to copy in memory, 300 ms on a slow disk.
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES_MIN = 4 * 2**30
_LEFTOVER_S = 600.0


def pytest_configure(config: pytest.Config) -> None:
    """The workers of a run inherit its name and its folder from the environment of the process that starts them."""
    if hasattr(config, "workerinput"):
        return
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES_MIN
    place = _MEMORY if roomy else Path(tempfile.gettempdir())
    _remove_data_of_dead_runs(place)
    run = uuid4().hex[:_RUN_DIGITS]
    os.environ[RUN_VARIABLE] = run
    folder = place / f"tallystick-tests-{run}"
    os.environ[_DATA_VARIABLE] = str(folder)
    trust_one(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[_DATA_VARIABLE], ignore_errors=True)


def _remove_data_of_dead_runs(place: Path) -> None:
    """What a killed run left: its server has stopped and taken its socket away. A new run has none yet, either."""
    for folder in place.glob("tallystick-tests-*"):
        with suppress(FileNotFoundError):
            is_old = time.time() - folder.stat().st_mtime > _LEFTOVER_S
            if is_old and not (folder / "postgres" / "run" / "control").exists():
                shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a developer's machine lacks is skipped there, loudly. Where CI=true nothing may be missing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and in CI nothing may be: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def needs() -> Callable[..., str]:
    """`needs("npm")`: the path of a program, under the first of the names that is found; else the test is skipped."""

    def find(*names: str) -> str:
        for name in names:
            path = shutil.which(name)
            if path is not None:
                return path
        pytest.skip(f"{names[0]} is not installed: apt-get install {names[0]}")

    return find


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """The PostgreSQL that the suite runs on."""
    wanted = os.environ.get("TALLYSTICK_TEST_POSTGRES")
    if not wanted:
        return find_binaries()
    found = read_binaries(Path(f"/usr/lib/postgresql/{wanted}/bin") if wanted.isdigit() else Path(wanted))
    if found is None:
        pytest.exit(f"TALLYSTICK_TEST_POSTGRES={wanted}: there is no PostgreSQL", returncode=3)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_dsn(binaries: Binaries) -> AsyncIterator[str]:
    """A database whose role may create others."""
    given = os.environ.get("TALLYSTICK_TEST_DATABASE_URL")
    if given:
        yield given
        return
    async with EmbeddedPostgres(Path(os.environ[_DATA_VARIABLE]), binaries=binaries, settings=_THROWN_AWAY) as server:
        yield server.dsn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def admin(server_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """The one connection that makes this worker's databases."""
    opened = await asyncpg.connect(server_dsn)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(server_dsn: str, admin: asyncpg.Connection) -> AsyncIterator[str]:
    """The name of a migrated database that nobody is connected to. The last worker of the run removes it."""
    run = os.environ[RUN_VARIABLE]
    name = f"tally_{run}_template"
    await _drop_databases_of_dead_runs(admin)
    await admin.execute("select pg_advisory_lock_shared($1)", _key(run))
    await admin.execute("select pg_advisory_lock(0)")
    if not await admin.fetchval("select 1 from pg_database where datname = $1", name):
        await admin.execute(f'create database "{name}_new"')
        await migrate(beside(server_dsn, f"{name}_new"))
        await admin.execute(f'alter database "{name}_new" rename to "{name}"')
    await admin.execute("select pg_advisory_unlock(0)")
    yield name
    await admin.execute("select pg_advisory_unlock_shared($1)", _key(run))
    await _drop_databases_of_dead_runs(admin)


@pytest_asyncio.fixture(loop_scope="session")
async def dsn(server_dsn: str, admin: asyncpg.Connection, template: str) -> AsyncIterator[str]:
    name = await create(admin, template)
    yield beside(server_dsn, name)
    await drop(admin, name)


@pytest_asyncio.fixture(loop_scope="session")
async def empty_dsn(server_dsn: str, admin: asyncpg.Connection, template: str) -> AsyncIterator[str]:
    """A database that nothing was ever done to. The template is what tells that the run is alive."""
    name = await create(admin)
    yield beside(server_dsn, name)
    await drop(admin, name)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=10) as opened:
        yield opened


@pytest.fixture
async def connection(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    async with pool.acquire() as acquired:
        yield acquired


@pytest.fixture
async def lanes(dsn: str) -> AsyncIterator[Lanes]:
    opened = Lanes(dsn)
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture(scope="session")
def stripe_address() -> Iterator[str]:
    """The offline Stripe, a process of its own."""
    with started(STRIPE) as address:
        yield address


async def _drop_databases_of_dead_runs(admin: asyncpg.Connection) -> None:
    """A killed run could not clean up after itself; its lock is free, and that of a living one is not."""
    names = [
        row["datname"] for row in await admin.fetch(r"select datname from pg_database where datname like 'tally\_%'")
    ]
    runs = {name.split("_")[1] for name in names}
    for run in runs:
        if not await admin.fetchval("select pg_try_advisory_lock($1)", _key(run)):
            continue
        for name in names:
            if name.startswith(f"tally_{run}_"):
                await admin.execute(f'drop database if exists "{name}" with (force)')
        await admin.execute("select pg_advisory_unlock($1)", _key(run))


def _key(run: str) -> int:
    return int(run, 16)
