"""Changes are heard by notification, by polling when the notification is lost, and afresh after a reconnect."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tallystick.base.changes import Changes
from tallystick.base.errors import Unavailable
from tests.patience import NEVER_S, PATIENCE_S, eventually


class Heard:
    """What one subscriber was told, with a way to wait for it."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self._something = asyncio.Event()

    def __call__(self, subject: str) -> None:
        self.subjects.append(subject)
        self._something.set()

    async def until(self, reached: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not reached(self.subjects):
                self._something.clear()
                await self._something.wait()


@asynccontextmanager
async def watched(dsn: str, poll_interval_s: float, **callbacks: Callable[[str], None]) -> AsyncIterator[Changes]:
    changes = Changes(dsn, poll_interval_s)
    for kind, callback in callbacks.items():
        changes.subscribe(kind, callback)
    await changes.start()
    try:
        yield changes
    finally:
        await changes.stop()


async def heard_once_more(changes: Changes) -> None:
    before = changes.heard_at
    await eventually(lambda: changes.heard_at > before)


async def drop_listeners(pool: asyncpg.Pool) -> int:
    rows = await pool.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and query like '%pg_snapshot_xmin%'"
    )
    return len(rows)


async def test_a_notification_is_heard_without_waiting_for_the_poll(dsn: str, pool: asyncpg.Pool) -> None:
    keys, organizations = Heard(), Heard()
    async with watched(dsn, NEVER_S, api_key=keys, organization=organizations):
        await pool.execute("select announce('api_key', 'one')")
        await keys.until(lambda heard: "one" in heard)
    assert keys.subjects == ["", "one"]
    assert organizations.subjects == [""]


async def test_a_lost_notification_costs_one_poll(dsn: str, pool: asyncpg.Pool) -> None:
    keys = Heard()
    async with watched(dsn, 0.02, api_key=keys):
        await pool.execute("insert into change (kind, subject) values ('api_key', 'silent')")
        await keys.until(lambda heard: "silent" in heard)


async def test_a_change_that_commits_after_a_later_one_is_heard(dsn: str, pool: asyncpg.Pool) -> None:
    keys = Heard()
    async with watched(dsn, 0.02, api_key=keys), pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute("insert into change (kind, subject) values ('api_key', 'first number')")
        await pool.execute("insert into change (kind, subject) values ('api_key', 'second number')")
        await keys.until(lambda heard: "second number" in heard)
        await pool.execute("insert into change (kind, subject) values ('api_key', 'third number')")
        await keys.until(lambda heard: "third number" in heard)
        await transaction.commit()
        await keys.until(lambda heard: "first number" in heard)
    # The window overlaps while the slow transaction is open; nothing is told twice for that.
    assert keys.subjects == ["", "second number", "third number", "first number"]


async def test_a_change_rolled_back_is_never_told(dsn: str, pool: asyncpg.Pool) -> None:
    keys = Heard()
    async with watched(dsn, 0.02, api_key=keys):
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("select announce('api_key', 'undone')")
            await transaction.rollback()
        await pool.execute("select announce('api_key', 'done')")
        await keys.until(lambda heard: "done" in heard)
    assert "undone" not in keys.subjects


async def test_after_a_lost_connection_everything_may_have_changed(dsn: str, pool: asyncpg.Pool) -> None:
    keys, organizations = Heard(), Heard()
    async with watched(dsn, NEVER_S, api_key=keys, organization=organizations) as changes:
        heard_before = changes.heard_at
        assert await drop_listeners(pool) == 1
        await keys.until(lambda heard: heard.count("") == 2)
        await organizations.until(lambda heard: heard.count("") == 2)
        await pool.execute("select announce('api_key', 'after')")
        await keys.until(lambda heard: "after" in heard)
        assert changes.heard_at > heard_before


async def test_a_failing_callback_does_not_keep_the_news_from_others(dsn: str, pool: asyncpg.Pool) -> None:
    keys = Heard()
    calls: list[str] = []

    def fails(subject: str) -> None:
        calls.append(subject)
        raise KeyError(subject)

    changes = Changes(dsn, NEVER_S)
    changes.subscribe("api_key", fails)
    changes.subscribe("api_key", keys)
    await changes.start()
    await pool.execute("select announce('api_key', 'one')")
    await keys.until(lambda heard: "one" in heard)
    await pool.execute("select announce('api_key', 'two')")
    await keys.until(lambda heard: "two" in heard)
    await changes.stop()
    assert calls == ["", "one", "two"]


async def test_changes_older_than_a_day_are_pruned(dsn: str, pool: asyncpg.Pool) -> None:
    await pool.execute(
        "insert into change (kind, subject, at)"
        " values ('api_key', 'old', now() - interval '25 hours'), ('api_key', 'young', now() - interval '23 hours')"
    )
    async with watched(dsn, 0.02):
        await eventually(lambda: pool.fetchval("select count(*) = 1 from change"))
    assert await pool.fetchval("select subject from change") == "young"


async def test_a_database_that_cannot_be_pruned_is_still_heard(dsn: str, pool: asyncpg.Pool) -> None:
    name = await pool.fetchval("select current_database()")
    await pool.execute(f'alter database "{name}" set default_transaction_read_only = on')
    async with watched(dsn, 0.01) as changes:
        for _ in range(3):
            await heard_once_more(changes)


async def test_a_database_that_is_not_there_stops_the_start(dsn: str) -> None:
    changes = Changes(dsn.rsplit("/", 1)[0] + "/no_such_database")
    with pytest.raises(Unavailable):
        await changes.start(contact_s_max=0.3)
    assert changes.heard_at == float("-inf")


def test_a_kind_that_nobody_announces_is_refused() -> None:
    with pytest.raises(ValueError, match="apikey"):
        Changes("").subscribe("apikey", lambda _: None)
