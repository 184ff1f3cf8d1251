"""The live documents: from memory while that is safe, and a commercial change felt by every process."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from tallystick.accounts import organization
from tallystick.accounts.organization import OrganizationState
from tallystick.base.changes import Changes
from tallystick.base.errors import NotFound, Unavailable
from tallystick.catalog.publish import apply
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.live import LiveConstraints
from tallystick.subscriptions.pause import pause
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscribe import subscribe
from tests.held_back import HeldBack
from tests.patience import NEVER_S, PATIENCE_S, eventually
from tests.questions import Questions
from tests.subscriptions.shop import CATALOG, at

MORE = CATALOG.replace("free = 10", "free = 20")

MakeLive = Callable[..., Awaitable[LiveConstraints]]


async def all_heard(live: LiveConstraints) -> None:
    """Until everything that was committed before has been passed on, and nothing known will be forgotten for it."""
    now = time.monotonic()
    await eventually(lambda: live._changes.heard_at > now)


async def until(live: LiveConstraints, organization_id: str, reached: Callable[[Any], bool]) -> None:
    async def found() -> bool:
        return reached(await live.find(organization_id))

    await eventually(found)


async def known(live: LiveConstraints, organization_id: str) -> None:
    """Until it answers from memory: what was announced before may arrive late, and make it forget once more."""

    async def remembered() -> bool:
        await live.find(organization_id)
        return live.cached(organization_id) is not None

    await eventually(remembered)


@pytest.fixture
def questions() -> Questions:
    return Questions("cross join catalog_read")


@pytest.fixture
async def pool(dsn: str, questions: Questions) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=10, setup=questions.watch) as opened:
        yield opened


@pytest.fixture
async def live(dsn: str, pool: asyncpg.Pool) -> AsyncIterator[MakeLive]:
    """Make live documents with a watch of their own, as every process has them."""
    async with AsyncExitStack() as stack:

        async def make(poll_interval_s: float = 0.05, **options: Any) -> LiveConstraints:
            changes = Changes(dsn, poll_interval_s)
            # A machine that stalls is neither deaf nor without a database, unless a test says so.
            made = LiveConstraints(pool, changes, **{"deaf_s_max": NEVER_S, "read_s_max": PATIENCE_S, **options})
            await changes.start()
            stack.push_async_callback(changes.stop)
            return made

        yield make


async def test_a_document_is_read_once_and_then_known_at_once(connection, acme, live, questions):
    await subscribe(connection, acme.id, "pro")
    documents = await live(NEVER_S)
    assert documents.cached(acme.id) is None
    found = await documents.find(acme.id)
    assert (found.plan, found.account, found.version) == ("pro", acme.account, 1)
    assert documents.cached(acme.id) is found
    assert await questions.during(documents.find(acme.id)) == 0


async def test_who_has_none_gets_one_compiled_and_stored(connection, acme, live, told, document):
    documents = await live(NEVER_S)
    found = await documents.find(acme.id)
    assert (found.plan, found.strategy, found.status, found.access) == (None, "prepaid", "none", True)
    assert found.quotas == {"reports": 10}
    assert await document() == found
    assert await told() == (1, 1, 0)


async def test_many_processes_that_miss_at_once_compile_one(acme, live, told):
    documents = [await live() for _ in range(4)]
    found = await asyncio.gather(*(one.find(acme.id) for one in documents for _ in range(5)))
    assert {one.version for one in found} == {1}
    assert await told() == (1, 1, 0)


@pytest.mark.parametrize("nobody", ["org_nobody", "", "org_\0", "o" * 1000, "org_\ud800"])
async def test_nobody_has_none(shop, live, nobody):
    documents = await live()
    with pytest.raises(NotFound):
        await documents.find(nobody)


async def test_one_that_is_unknown_takes_nothing_from_the_others(connection, acme, other, live):
    await subscribe(connection, acme.id, "pro")
    documents = await live()
    found = await asyncio.gather(
        *(documents.find(one) for one in (acme.id, "org_nobody", other.id)), return_exceptions=True
    )
    assert [type(one).__name__ for one in found] == ["Constraints", "NotFound", "Constraints"]


async def test_requests_that_miss_at_once_share_queries(connection, shop, live, questions):
    made = [(await organization.create(connection, name=f"Org {number}")).id for number in range(10)]
    for one in made:
        await publish_constraints(connection, one)
    documents = await live(NEVER_S)

    async def storm() -> None:
        await asyncio.gather(*(documents.find(one) for one in made * 50))

    assert await questions.during(storm()) <= 2


async def test_a_request_given_up_does_not_take_the_answer_from_the_others(acme, live):
    documents = await live()
    first, second = (asyncio.create_task(documents.find(acme.id)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).organization == acme.id


async def test_every_process_hears_of_a_commercial_change(connection, acme, other, live):
    await subscribe(connection, acme.id, "starter")
    # Polling is as good as off: only the notification can tell them.
    processes = [await live(NEVER_S) for _ in range(2)]
    for one in processes:
        await one.find(other.id)
        await known(one, acme.id)
    await change_plan(connection, acme.id, "pro")
    await asyncio.gather(*(until(one, acme.id, lambda found: found.plan == "pro") for one in processes))


async def test_one_whose_notification_is_lost_is_polled(connection, acme, live):
    await subscribe(connection, acme.id, "pro")
    processes = [await live(0.05) for _ in range(2)]
    for one in processes:
        await one.find(acme.id)
    # All that a verb writes, but for the NOTIFY.
    async with connection.transaction():
        await connection.execute(
            'update constraints set version = 2, document = document || \'{"version": 2, "access": false}\''
        )
        await connection.execute("insert into change (kind, subject) values ('constraints', $1)", acme.id)
    await asyncio.gather(*(until(one, acme.id, lambda found: not found.access) for one in processes))


async def test_a_change_while_the_watch_was_cut_off_is_heard(connection, acme, live):
    await subscribe(connection, acme.id, "pro")
    documents = await live(NEVER_S)
    await documents.find(acme.id)
    # Nothing is announced: only the reconnect can make it read again.
    await connection.execute("update constraints set document = document || '{\"access\": false}'")
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and query like '%pg_snapshot_xmin%'"
    )
    await until(documents, acme.id, lambda found: not found.access)


async def test_an_applied_catalog_is_felt_without_waiting_for_the_upkeep(connection, acme, other, live):
    await subscribe(connection, acme.id, "starter")
    await subscribe(connection, other.id, "pro")
    documents = await live(NEVER_S)
    for one in (acme, other):
        await documents.find(one.id)
    await apply(connection, MORE, now=at("2024-01-01"))
    await until(documents, acme.id, lambda found: found.quotas == {"reports": 20})
    assert (await documents.find(other.id)).version == 1


async def test_a_suspended_organization_is_read_again(connection, acme, other, live):
    documents = await live()
    for one in (acme, other):
        await publish_constraints(connection, one.id)
    await all_heard(documents)
    for one in (acme, other):
        await documents.find(one.id)
    assert documents.cached(acme.id) is not None
    await organization.change(connection, acme.id, state=OrganizationState.SUSPENDED, default_max_tokens=None)
    await eventually(lambda: documents.cached(acme.id) is None)
    assert documents.cached(other.id) is not None
    assert (await documents.find(acme.id)).organization == acme.id


async def test_a_document_of_another_form_is_compiled_again(connection, acme, live, told):
    await subscribe(connection, acme.id, "pro")
    await connection.execute("update constraints set document = document - 'tier'")
    assert (await (await live()).find(acme.id)).tier == "pro"
    assert await told() == (2, 2, 1)


class Deaf(Changes):
    """A watch that never heard anything: it is not started."""


async def test_a_deaf_process_reads_every_time(dsn, pool, connection, acme):
    await subscribe(connection, acme.id, "pro")
    documents = LiveConstraints(pool, Deaf(dsn))
    for _ in range(2):
        assert (await documents.find(acme.id)).access
        assert documents.cached(acme.id) is None
    await pause(connection, acme.id)
    assert (await documents.find(acme.id)).access is False


@contextlib.asynccontextmanager
async def database_away(server_dsn: str, dsn: str) -> AsyncIterator[None]:
    name = dsn.rsplit("/", 1)[1]
    elsewhere = await asyncpg.connect(server_dsn)
    await elsewhere.execute(f'alter database "{name}" allow_connections false')
    await elsewhere.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
    try:
        yield
    finally:
        await elsewhere.execute(f'alter database "{name}" allow_connections true')
        await elsewhere.close()


async def test_without_a_database_the_last_document_holds_for_its_time(server_dsn, dsn, pool, acme, live):
    ahead_s = 0.0
    documents = await live(deaf_s_max=0.5, stale_s_max=60.0, clock=lambda: time.monotonic() + ahead_s)
    known = await documents.find(acme.id)
    await all_heard(documents)
    assert await documents.find(acme.id) == known
    async with database_away(server_dsn, dsn):
        await eventually(lambda: documents.cached(acme.id) is None)
        assert await documents.find(acme.id) == known
        ahead_s = 50.0
        assert await documents.find(acme.id) == known
        ahead_s = 70.0
        with pytest.raises(Unavailable):
            await documents.find(acme.id)
        ahead_s = 0.0
        # Of whom nothing is known, nothing holds.
        with pytest.raises(Unavailable):
            await documents.find("org_other")

    async def known_again() -> bool:
        with contextlib.suppress(Unavailable):
            await documents.find(acme.id)
        return documents.cached(acme.id) is not None

    await eventually(known_again)


async def test_what_is_known_to_have_changed_does_not_hold(server_dsn, dsn, connection, acme, other, live):
    for one in (acme, other):
        await subscribe(connection, one.id, "pro")
    documents = await live(deaf_s_max=0.5)
    await all_heard(documents)
    for one in (acme, other):
        await documents.find(one.id)
    await pause(connection, acme.id)
    await eventually(lambda: documents.cached(acme.id) is None)
    async with database_away(server_dsn, dsn):
        await eventually(lambda: documents.cached(other.id) is None)
        with pytest.raises(Unavailable):
            await documents.find(acme.id)
        assert (await documents.find(other.id)).access


async def test_what_was_doubted_and_then_changed_does_not_hold(server_dsn, dsn, connection, acme, live):
    await subscribe(connection, acme.id, "pro")
    documents = await live()
    await all_heard(documents)
    await documents.find(acme.id)
    await apply(connection, MORE, now=at("2024-01-01"))
    await eventually(lambda: documents.cached(acme.id) is None)
    await pause(connection, acme.id)
    await all_heard(documents)
    async with database_away(server_dsn, dsn):
        with pytest.raises(Unavailable):
            await documents.find(acme.id)


async def test_what_was_only_doubted_holds(server_dsn, dsn, connection, acme, live):
    """A catalog was applied, and the database went away before anybody could read again."""
    await subscribe(connection, acme.id, "pro")
    documents = await live()
    await all_heard(documents)
    known = await documents.find(acme.id)
    await apply(connection, MORE, now=at("2024-01-01"))
    await eventually(lambda: documents.cached(acme.id) is None)
    async with database_away(server_dsn, dsn):
        assert await documents.find(acme.id) == known


async def test_a_document_read_before_a_change_is_not_remembered_after_it(dsn, pool, connection, acme):
    await subscribe(connection, acme.id, "pro")
    held_back = HeldBack(pool)
    changes = Changes(dsn, NEVER_S)
    documents = LiveConstraints(held_back, changes, deaf_s_max=NEVER_S)
    changed = asyncio.Event()
    changes.subscribe("constraints", lambda subject: changed.set() if subject else None)
    await changes.start()
    early = asyncio.create_task(documents.find(acme.id))
    await asyncio.wait_for(held_back.has_answer.wait(), PATIENCE_S)
    await pause(connection, acme.id)
    await asyncio.wait_for(changed.wait(), PATIENCE_S)
    held_back.released.set()
    assert (await early).access  # it asked before the change
    assert documents.cached(acme.id) is None
    assert (await documents.find(acme.id)).access is False
    await changes.stop()


async def test_what_it_remembers_is_bounded(connection, shop, live, questions):
    made = [(await organization.create(connection, name=f"Org {number}")).id for number in range(6)]
    for one in made:
        await publish_constraints(connection, one)
    documents = await live(documents_max=3)
    await all_heard(documents)
    for one in made:
        await documents.find(one)
    assert [documents.cached(one) is not None for one in made] == [False] * 3 + [True] * 3
    await apply(connection, MORE, now=at("2024-01-01"))
    await eventually(lambda: documents.cached(made[-1]) is None)
    assert len(documents._doubted) == 3
    # These are compiled again, and forgotten once more when that is heard.
    for one in made[:3]:
        await documents.find(one)
    await all_heard(documents)
    for one in made[:3]:
        await documents.find(one)
    await connection.execute("select announce('catalog', '')")
    await eventually(lambda: not documents._documents)
    assert [*documents._doubted] == made[:3]


async def test_a_suspension_ends_all_access_and_its_end_brings_it_back(connection, acme, live):
    await subscribe(connection, acme.id, "pro")
    documents = await live()
    assert (await documents.find(acme.id)).access
    for state in (OrganizationState.SUSPENDED, OrganizationState.ACTIVE):
        await organization.change(connection, acme.id, state=state, default_max_tokens=None)
        await until(documents, acme.id, lambda found, state=state: found.access == (state == OrganizationState.ACTIVE))
