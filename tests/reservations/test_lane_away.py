"""The database goes away under a lane."""

import asyncio
import tempfile
from urllib.parse import quote, unquote, urlsplit

import asyncpg
import pytest

from tallystick.base.errors import Unavailable
from tallystick.base.ids import new_id
from tallystick.ledger.account import Balance
from tallystick.ledger.read import balance
from tallystick.reservations import lane_connection
from tallystick.reservations.hold import HoldEnded, OutcomeUnknown
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer


async def end_lane_sessions(connection: asyncpg.Connection) -> int:
    return await connection.fetchval(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where datname = current_database() and application_name like 'tallystick lane%'"
    )


async def test_a_lost_connection_is_made_again_and_the_batch_sent_again(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account = await customer(connection, 10**9)
    done: list[Balance] = []
    stopping = asyncio.Event()

    async def caller() -> None:
        while not stopping.is_set():
            hold = new_id()
            await lanes.reserve(hold, account, 10, expires_in_s=60)
            done.append(await lanes.settle(hold, account, 10))

    callers = [asyncio.create_task(caller()) for _ in range(20)]
    killed = 0
    while killed < 10:
        before = len(done)
        killed += await end_lane_sessions(connection)
        while len(done) == before:
            await asyncio.sleep(0.01)
    stopping.set()
    await asyncio.gather(*callers)
    spent = 10 * len(done)
    assert await balance(connection, account) == Balance(10**9 - spent, 0, 10**9 - spent)
    assert await broken_laws(connection) == {}


async def test_an_unanswered_reserve_is_released_when_the_database_is_back(
    connection: asyncpg.Connection, dsn: str
) -> None:
    account, hold = await customer(connection, 100), new_id()
    lanes = Lanes(dsn, patience_s=0.3)
    await lanes.start()
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as other, other.acquire() as blocker:
        transaction = blocker.transaction()
        await transaction.start()
        # The batch waits for the lane and its answer never comes; it is on disk or not, nobody can tell.
        await blocker.execute("select pg_advisory_xact_lock(31249, lane) from generate_series(0, 63) as lane")
        with pytest.raises(OutcomeUnknown):
            await lanes.reserve(hold, account, 60, expires_in_s=60, dispatcher=new_id())
        with pytest.raises(Unavailable) as refused:
            await lanes.reserve(new_id(), account, 1, expires_in_s=60)
        assert not isinstance(refused.value, OutcomeUnknown)
        # What the lost batch would have done, had its commit gone through.
        await blocker.execute(
            "insert into hold (id, account, amount, created_at, expires_at, dispatcher)"
            " values ($1, $2, 60, now(), now() + interval '1 h', $3)",
            hold,
            account,
            new_id(),
        )
        await blocker.execute("update ledger_account set held = 60 where id = $1", account)
        await transaction.commit()
    while await connection.fetchval("select state from hold where id = $1", hold) == "open":
        await asyncio.sleep(0.05)
    assert await balance(connection, account) == Balance(100, 0, 100)
    with pytest.raises(HoldEnded):
        await lanes.reserve(hold, account, 60, expires_in_s=60)
    await lanes.stop()
    assert await broken_laws(connection) == {}


async def test_a_database_that_is_not_there_is_unavailable_at_once(dsn: str) -> None:
    lanes = Lanes(dsn.rsplit("/", 1)[0] + "/there_is_no_such_database")
    with pytest.raises(Unavailable):
        await lanes.start()


async def test_a_ledger_with_other_lanes_is_not_written(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 100)
    await connection.execute("update ledger_layout set lanes = 64")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await lanes.reserve(new_id(), account, 1, expires_in_s=60)


async def test_a_writer_that_dies_leaves_nobody_waiting(connection: asyncpg.Connection, dsn: str) -> None:
    account, blocker = await customer(connection, 100), await asyncpg.connect(dsn)
    lanes = Lanes(dsn)
    await lanes.start()
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(31249, lane) from generate_series(0, 63) as lane")
        under_way = asyncio.create_task(lanes.reserve(new_id(), account, 1, expires_in_s=60))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(lanes.reserve(new_id(), account, 1, expires_in_s=60))
        await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            if task.get_name().startswith("lane "):
                task.cancel()
        with pytest.raises(OutcomeUnknown):
            await under_way
        with pytest.raises(Unavailable):
            await waiting
    with pytest.raises(Unavailable):
        await lanes.reserve(new_id(), account, 1, expires_in_s=60)
    await lanes.stop()
    await blocker.close()


class Forgetful:
    """Between a client and the server, as a firewall is: connections that it has forgotten are silent for ever."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._passing: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(self._server)
        self._writers += [writer, ours]
        self._passing += [
            asyncio.create_task(self._pass_on(reader, ours)),
            asyncio.create_task(self._pass_on(theirs, writer)),
        ]

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    def forget(self) -> None:
        for task in self._passing:
            task.cancel()
        self._passing.clear()

    async def close(self) -> None:
        self.forget()
        for writer in self._writers:
            writer.close()


async def test_a_connection_that_was_forgotten_while_idle_is_made_again(
    connection: asyncpg.Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await customer(connection, 100)
    target = urlsplit(dsn)
    host = unquote(target.hostname or "")
    if not host.startswith("/"):
        pytest.skip("the server is not behind a socket of this machine")
    between = Forgetful(f"{host}/.s.PGSQL.{target.port or 5432}")
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.start_unix_server(between.connected, f"{folder}/.s.PGSQL.5432")
        lanes = Lanes(f"postgresql://{target.username}:{target.password}@{quote(folder, safe='')}:5432{target.path}")
        await lanes.start()
        await lanes.reserve(new_id(), account, 1, expires_in_s=60)
        between.forget()
        monkeypatch.setattr(lane_connection, "_IDLE_S", 0.0)
        monkeypatch.setattr(lane_connection, "_ANSWER_S", 0.2)
        # Not unknown, and long before the callers' patience of ten seconds is at its end.
        async with asyncio.timeout(8):
            await lanes.reserve(new_id(), account, 1, expires_in_s=60)
        await lanes.stop()
        await between.close()
        server.close()
        await server.wait_closed()
    assert await balance(connection, account) == Balance(100, 2, 98)
