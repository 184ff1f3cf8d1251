"""The embedded server under kill -9, in every order, with real processes."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from tallystick.base.embedded_postgres import EmbeddedPostgres, RunningPostgres, find_postgres
from tallystick.base.errors import Misconfigured
from tallystick.base.postgres_binaries import Account, Binaries, run_as
from tallystick.base.postgres_cluster import binaries_for
from tallystick.base.postgres_home import open_home

ROOT = os.geteuid() == 0
USER = """
import asyncio, json, sys
from pathlib import Path
from typing import Any
from tallystick.base.embedded_postgres import EmbeddedPostgres
from tallystick.base.postgres_binaries import read_binaries

async def main():
    binaries = read_binaries(Path(sys.argv[2]))
    async with EmbeddedPostgres(Path(sys.argv[1]), binaries=binaries, on_progress=sys.stderr.write) as server:
        print(json.dumps({"pid": server.pid, "dsn": server.dsn}), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another account can pass through, as PostgreSQL must when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-embedded-", dir=Path(os.environ["TALLYSTICK_TEST_DATA"]).parent))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def spawn(place: Path, binaries: Binaries) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that use the server in `place` until their standard input closes."""
    processes = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, str(place / "data"), str(binaries.folder)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.communicate()


def told_by(process: subprocess.Popen[str]) -> tuple[int, str]:
    assert process.stdout
    told = json.loads(process.stdout.readline())
    return told["pid"], told["dsn"]


def is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def pid_of(server: EmbeddedPostgres) -> int:
    assert server.pid
    return server.pid


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def supervisor_of(pid: int) -> int:
    return int(psutil.Process(pid).ppid())


def wrapped(place: Path, binaries: Binaries, before: str) -> Binaries:
    """The same binaries with `before` run by a shell ahead of each start of the server."""
    (place / "data").mkdir(mode=0o711)
    binaries = binaries_for(open_home(place / "data"), binaries)
    folder = place / "wrapped"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    for name in ("initdb", "postgres"):
        program = folder / name
        line = before if name == "postgres" else ""
        # initdb looks for a postgres beside it, and both ask for single-user mode or a version without a detour.
        guard = f'case "$*" in *config_file=*) {line or ":"} ;; esac'
        program.write_text(f'#!/bin/sh\n{guard}\nexec {binaries.program(name)} "$@"\n')
        program.chmod(0o755)
    return Binaries(folder, binaries.major)


async def fetch(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_the_application_gets_a_role_that_owns_its_database_and_is_no_superuser(
    place: Path, binaries: Binaries
) -> None:
    async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
        connection = await asyncpg.connect(server.dsn)
        row = await connection.fetchrow(
            "select current_user::text, current_database()::text, rolsuper, rolcreatedb from pg_roles "
            "where rolname = current_user"
        )
        assert tuple(row) == ("tallystick", "tallystick", False, True)
        settings = [
            await connection.fetchval("select current_setting($1)", name)
            for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "listen_addresses")
        ]
        assert settings == ["on", "on", "on", "on", ""]
        assert connection.get_server_version().major == binaries.major
        await connection.close()


async def test_nobody_comes_in_without_the_password(place: Path, binaries: Binaries) -> None:
    async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
        scheme, rest = server.dsn.split("://")
        credentials, address = rest.split("@")
        user, password = credentials.split(":")
        for attempt in (f"{user}:wrong", "postgres:", f"postgres:{password}"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(f"{scheme}://{attempt}@{address}")


async def test_secrets_and_data_are_closed_to_others_and_nothing_around_them_changes(
    place: Path, binaries: Binaries
) -> None:
    bystander = place / "bystander"
    bystander.mkdir(mode=0o755)
    before = {path: path.stat().st_mode for path in (place, place.parent, bystander)}
    async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
        home = place / "data" / "postgres"
        for name in ("password", "superuser_password", "postgres.log"):
            assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "run" / "pg").stat().st_mode) == 0o700
        assert server.dsn.split(":")[2].split("@")[0] not in (home / "postgres.log").read_text()
    assert {path: path.stat().st_mode for path in before} == before


async def test_users_share_one_server_and_it_goes_with_the_last(
    place: Path, binaries: Binaries, spawn: Callable[[], subprocess.Popen[str]]
) -> None:
    other = spawn()
    pid, dsn = told_by(other)
    async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
        assert (server.pid, server.dsn) == (pid, dsn)
        other.communicate()
        assert await fetch(server.dsn, "select 1") == 1
    assert not is_alive(pid)
    assert not (place / "data" / "postgres" / "data" / "postmaster.pid").exists()


async def test_many_that_start_at_once_get_the_same_new_server(spawn: Callable[[], subprocess.Popen[str]]) -> None:
    processes = [spawn() for _ in range(4)]
    told = [await asyncio.to_thread(told_by, process) for process in processes]
    assert len(set(told)) == 1


async def test_one_that_comes_while_the_server_stops_gets_the_next(place: Path, binaries: Binaries) -> None:
    async def use() -> None:
        async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
            assert await fetch(server.dsn, "select 1") == 1

    await use()
    for _ in range(3):
        await asyncio.gather(use(), use())


@pytest.mark.parametrize("victims", ["user", "supervisor", "user and supervisor"])
async def test_nothing_stays_behind_after_kill_9(victims: str, spawn: Callable[[], subprocess.Popen[str]]) -> None:
    process = spawn()
    pid, _ = told_by(process)
    supervisor = supervisor_of(pid)
    if "supervisor" in victims:
        os.kill(supervisor, signal.SIGKILL)
    if "user" in victims:
        process.kill()
    await until(lambda: not is_alive(pid) and not is_alive(supervisor))


async def test_a_user_outlives_kill_9_of_the_supervisor(place: Path, binaries: Binaries) -> None:
    async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
        first = pid_of(server)
        os.kill(supervisor_of(first), signal.SIGKILL)
        await until(lambda: server.pid not in {first, None})
        await server.ready()
        assert await fetch(server.dsn, "select 1") == 1
        second = pid_of(server)
    assert not is_alive(first)
    assert not is_alive(second)


async def test_what_was_acknowledged_survives_kill_9_of_the_server(place: Path, binaries: Binaries) -> None:
    async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
        await fetch(server.dsn, "create table written (n int primary key)")
        acknowledged: list[int] = []

        async def write() -> None:
            connection = await asyncpg.connect(server.dsn)
            try:
                while True:
                    n = len(acknowledged)
                    await connection.execute("insert into written values ($1)", n)
                    acknowledged.append(n)
            finally:
                connection.terminate()

        for goal in (50, 100):
            writing = asyncio.create_task(write())
            await until(partial(lambda goal: len(acknowledged) >= goal, goal))
            await server.kill()
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
                await writing
            await server.ready()
            kept = await fetch(server.dsn, "select array_agg(n order by n) from written")
            # The one in flight may or may not have been written; it was not acknowledged.
            assert kept[: len(acknowledged)] == acknowledged
            acknowledged[:] = kept


async def test_a_recovery_may_take_as_long_as_it_takes(place: Path, binaries: Binaries) -> None:
    heard: list[str] = []
    slow = wrapped(place, binaries, "sleep 6;")
    async with EmbeddedPostgres(place / "data", binaries=slow, on_progress=heard.append) as server:
        assert await fetch(server.dsn, "select 1") == 1
    assert any("still starting" in message for message in heard)
    assert heard[-1] == "PostgreSQL is ready"


async def test_a_start_that_fails_twice_is_tried_again(place: Path, binaries: Binaries) -> None:
    count = place / "count"
    count.write_text("")
    count.chmod(0o666)
    flaky = wrapped(place, binaries, f"echo x >> {count}; [ $(wc -l < {count}) -gt 2 ] || exit 1;")
    async with EmbeddedPostgres(place / "data", binaries=flaky) as server:
        assert await fetch(server.dsn, "select 1") == 1
    assert count.read_text().count("x") == 3


async def test_a_server_that_cannot_start_says_why(place: Path, binaries: Binaries) -> None:
    async with EmbeddedPostgres(place / "data", binaries=binaries):
        pass
    (place / "data" / "postgres" / "local.conf").write_text("max_connections = 'many'\n")
    (place / "data" / "postgres" / "local.conf").chmod(0o644)
    with pytest.raises(Misconfigured, match=r'does not start: .*"max_connections"(?s:.*)postgres\.log'):
        async with EmbeddedPostgres(place / "data", binaries=binaries):
            pass


@pytest.mark.parametrize("content", ["{stranger}\n/elsewhere\n", "999999999\n", "not a number\n", ""])
async def test_a_stale_pid_file_is_survived(place: Path, binaries: Binaries, content: str) -> None:
    async with EmbeddedPostgres(place / "data", binaries=binaries):
        pass
    data = place / "data" / "postgres" / "data"
    # A process of the same user that is no PostgreSQL: PostgreSQL by itself would refuse to start.
    account = Account(data.stat().st_uid, data.stat().st_gid) if ROOT else None
    stranger = subprocess.Popen(["sleep", "60"], cwd="/", **run_as(account))
    try:
        (data / "postmaster.pid").write_text(content.format(stranger=stranger.pid))
        os.chown(data / "postmaster.pid", data.stat().st_uid, data.stat().st_gid)
        async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
            assert await fetch(server.dsn, "select 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_an_interrupted_creation_is_made_again(place: Path, binaries: Binaries) -> None:
    half = place / "data" / "postgres" / "data.new"
    half.mkdir(parents=True)
    (place / "data" / "postgres").chmod(0o711)
    (half / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
        assert await fetch(server.dsn, "select 1") == 1
    assert not half.exists()


async def test_a_folder_with_a_long_name_has_its_socket_elsewhere(place: Path, binaries: Binaries) -> None:
    async with EmbeddedPostgres(place / ("long" * 30), binaries=binaries) as server:
        assert await fetch(server.dsn, "select 1") == 1
        sockets = server.dsn.split("@")[1].split("%2Fpg:")[0].replace("%2F", "/")
        assert sockets.startswith("/tmp/tallystick-")
    shutil.rmtree(sockets)


async def test_data_of_another_version_is_refused(place: Path, binaries: Binaries) -> None:
    async with EmbeddedPostgres(place / "data", binaries=binaries):
        pass
    other = Binaries(binaries.folder, binaries.major + 1)
    with pytest.raises(Misconfigured, match=f"was written by PostgreSQL {binaries.major}, not {other.major}"):
        async with EmbeddedPostgres(place / "data", binaries=other):
            pass


class TestRoot:
    """Only root has to become someone else; for others there is nothing to test."""

    __test__ = ROOT

    async def test_the_server_runs_as_an_ordinary_user(self, place: Path, binaries: Binaries) -> None:
        async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
            assert psutil.Process(pid_of(server)).uids().effective != 0

    async def test_a_folder_that_is_closed_to_others_stays_so(self, place: Path, binaries: Binaries) -> None:
        place.chmod(0o700)
        async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
            assert await fetch(server.dsn, "select 1") == 1
        home = (place / "data" / "postgres").resolve()
        try:
            assert home.is_relative_to("/var/lib/tallystick")
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
            async with EmbeddedPostgres(place / "data", binaries=binaries) as server:
                assert str(home.name) in server.dsn
        finally:
            shutil.rmtree(home)

    async def test_a_link_to_data_that_is_gone_does_not_start_over_with_none(
        self, place: Path, binaries: Binaries
    ) -> None:
        (place / "data").mkdir()
        (place / "data" / "postgres").symlink_to(place / "gone")
        with pytest.raises(Misconfigured, match="which is gone"):
            async with EmbeddedPostgres(place / "data", binaries=binaries):
                pass


class TestRunningPostgres:
    async def test_a_given_server_is_used_as_it_is(self, server_dsn: str, tmp_path: Path) -> None:
        async with find_postgres(server_dsn, tmp_path / "unused") as server:
            assert server.dsn == server_dsn
        assert not (tmp_path / "unused").exists()

    async def test_a_server_that_does_not_answer_is_named_without_its_password(self, tmp_path: Path) -> None:
        with pytest.raises(
            Misconfigured, match=r"DATABASE_URL: no connection to PostgreSQL at 127\.0\.0\.1"
        ) as refused:
            async with find_postgres("postgresql://someone:hidden@127.0.0.1:1/x", tmp_path):
                pass
        assert "hidden" not in str(refused.value)

    async def test_an_old_server_is_refused(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
            version = b"server_version\x0014.9\x00"
            writer.write(b"R" + (8).to_bytes(4, "big") + (0).to_bytes(4, "big"))
            writer.write(b"S" + (4 + len(version)).to_bytes(4, "big") + version)
            writer.write(b"Z" + (5).to_bytes(4, "big") + b"I")
            # The client says that it ends, and waits for the server to hang up.
            await reader.readexactly(5)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            with pytest.raises(Misconfigured, match=r"PostgreSQL 14 at 127\.0\.0\.1 is too old; 15 is needed"):
                async with RunningPostgres(f"postgresql://a:b@127.0.0.1:{port}/c?sslmode=disable"):
                    pass
