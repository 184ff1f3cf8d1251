"""The key ring: who a key speaks for, from memory while that is safe, and the end of a key felt by every process."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tallystick.accounts import api_key, organization
from tallystick.accounts.authenticate import KeyRing
from tallystick.accounts.organization import Organization, OrganizationState
from tallystick.accounts.secret_token import new_token
from tallystick.base.changes import Changes
from tallystick.base.errors import Unauthorized, Unavailable
from tests.held_back import HeldBack
from tests.patience import NEVER_S, PATIENCE_S, eventually
from tests.questions import Questions

MakeKeyRing = Callable[..., Awaitable[KeyRing]]


async def new_key(pool: asyncpg.Pool, organization_id: str, expires_at: datetime | None = None) -> tuple[str, str]:
    """The id and the secret of a new key."""
    async with pool.acquire() as connection:
        made = await api_key.create(connection, organization=organization_id, name="CI", expires_at=expires_at)
    return made.key.id, made.secret


async def until_refused(ring: KeyRing, secret: str) -> None:
    async def refused() -> bool:
        try:
            await ring.caller(secret)
        except Unauthorized:
            return True
        return False

    await eventually(refused)


@pytest.fixture
def questions() -> Questions:
    return Questions("join organization")


@pytest.fixture
async def pool(dsn: str, questions: Questions) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=10, setup=questions.watch) as opened:
        yield opened


async def test_a_key_tells_who_calls_and_is_then_known_at_once(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing, questions: Questions
) -> None:
    key, secret = await new_key(pool, acme.id)
    ring = await key_ring()
    assert ring.cached(secret) is None
    caller = await ring.caller(secret)
    assert (caller.organization, caller.account, caller.key) == (acme.id, acme.account, key)
    assert (caller.prefix, caller.name) == (secret[:12], "CI")
    assert (caller.organization_state, caller.default_max_tokens) == ("active", None)
    assert ring.cached(secret) is caller
    assert await questions.during(ring.caller(secret)) == 0


GARBAGE = {
    "empty": "",
    "prefix only": "tsk_",
    "sql": "tsk_' or 1=1 --",
    "sql of the right length": ("tsk_' or '1'='1' -- " + "a" * 47)[:47],
    "nul": "tsk_" + "\0" * 43,
    "a megabyte": "tsk_" + "a" * 1_000_000,
    "not ascii": "tsk_" + "\u00e9" * 43,
    "half a pair": "tsk_" + "\ud800" * 43,
    "other digits": "tsk_" + "\u0663" * 43,
    "new line": "tsk_" + "a" * 42 + "\n",
    "a session": new_token("tss_"),
    "a provider's key": "sk-" + "a" * 44,
    "two": "tsk_" + "a" * 43 + ",tsk_" + "a" * 43,
    "well-formed": "tsk_" + "a" * 43,
}


async def test_every_kind_of_garbage_is_the_same_refusal(pool: asyncpg.Pool, key_ring: MakeKeyRing) -> None:
    ring = await key_ring()
    answers = set()
    for secret in GARBAGE.values():
        assert ring.cached(secret) is None
        with pytest.raises(Unauthorized) as refused:
            await ring.caller(secret)
        answers.add((refused.value.code, refused.value.message, str(refused.value.details)))
    assert len(answers) == 1


async def test_garbage_costs_no_query_and_a_well_formed_unknown_key_one(
    pool: asyncpg.Pool, key_ring: MakeKeyRing, questions: Questions
) -> None:
    ring = await key_ring()

    async def try_all() -> None:
        for _ in range(3):
            for secret in GARBAGE.values():
                with pytest.raises(Unauthorized):
                    await ring.caller(secret)

    assert await questions.during(try_all()) == 1


async def test_requests_that_miss_at_once_share_queries(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing, questions: Questions
) -> None:
    ring = await key_ring()
    secrets = [(await new_key(pool, acme.id))[1] for _ in range(3)] + [new_token("tsk_") for _ in range(5)]
    answers: list[object] = []

    async def storm() -> None:
        answers.extend(await asyncio.gather(*(ring.caller(secret) for secret in secrets * 50), return_exceptions=True))

    assert await questions.during(storm()) <= 2
    assert sum(isinstance(answer, Unauthorized) for answer in answers) == 250
    assert len(answers) == 400


async def test_a_request_given_up_does_not_take_the_answer_from_the_others(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing
) -> None:
    ring = await key_ring()
    key, secret = await new_key(pool, acme.id)
    first, second = (asyncio.create_task(ring.caller(secret)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).key == key


async def test_an_expired_key_is_refused_though_it_was_remembered(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing
) -> None:
    ahead_s = 0.0
    ring = await key_ring(deaf_s_max=NEVER_S, clock=lambda: time.monotonic() + ahead_s)
    _, secret = await new_key(pool, acme.id, datetime.now(UTC) + timedelta(seconds=100))
    assert (await ring.caller(secret)).organization == acme.id
    ahead_s = 90.0
    assert ring.cached(secret) is not None
    ahead_s = 101.0
    assert ring.cached(secret) is None
    await pool.execute("update api_key set expires_at = clock_timestamp()")
    with pytest.raises(Unauthorized):
        await ring.caller(secret)


async def test_two_processes_hear_of_a_revocation(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing
) -> None:
    # Polling is as good as off: only the notification can tell them.
    rings = [await key_ring(NEVER_S, deaf_s_max=NEVER_S) for _ in range(2)]
    key, secret = await new_key(pool, acme.id)
    _, kept = await new_key(pool, acme.id)
    for ring in rings:
        await ring.caller(secret)
        await ring.caller(kept)
    async with pool.acquire() as connection:
        await api_key.revoke(connection, organization=acme.id, key=key)
    await asyncio.gather(*(until_refused(ring, secret) for ring in rings))
    assert all(ring.cached(kept) is not None for ring in rings)


async def test_a_revocation_whose_notification_is_lost_is_polled(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing
) -> None:
    rings = [await key_ring(0.05, deaf_s_max=NEVER_S) for _ in range(2)]
    _, secret = await new_key(pool, acme.id)
    for ring in rings:
        await ring.caller(secret)
    async with pool.acquire() as connection, connection.transaction():
        digest = await connection.fetchval("update api_key set revoked_at = now() returning encode(hash, 'hex')")
        await connection.execute("insert into change (kind, subject) values ('api_key', $1)", digest)
    await asyncio.gather(*(until_refused(ring, secret) for ring in rings))


async def test_a_revocation_while_the_watch_was_cut_off_is_heard(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing
) -> None:
    ring = await key_ring(NEVER_S, deaf_s_max=NEVER_S)
    _, secret = await new_key(pool, acme.id)
    await ring.caller(secret)
    # Nothing is announced: only the reconnect can make the ring read the key again.
    await pool.execute("update api_key set revoked_at = now()")
    await pool.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and query like '%pg_snapshot_xmin%'"
    )
    await until_refused(ring, secret)


async def test_an_announcement_it_does_not_understand_makes_it_forget_all(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing
) -> None:
    ring = await key_ring(NEVER_S, deaf_s_max=NEVER_S)
    key, secret = await new_key(pool, acme.id)
    await ring.caller(secret)
    await pool.execute("update api_key set revoked_at = now()")
    await pool.execute("select announce('api_key', $1)", key)
    await until_refused(ring, secret)


async def test_a_suspended_organization_is_told_with_the_caller(
    pool: asyncpg.Pool, acme: Organization, other: Organization, key_ring: MakeKeyRing
) -> None:
    ring = await key_ring(NEVER_S, deaf_s_max=NEVER_S)
    _, secret = await new_key(pool, acme.id)
    _, others = await new_key(pool, other.id)
    await ring.caller(secret)
    await ring.caller(others)
    async with pool.acquire() as connection:
        await organization.change(connection, acme.id, state=OrganizationState.SUSPENDED, default_max_tokens=7)
    await eventually(lambda: ring.cached(secret) is None)
    assert (await ring.caller(secret)).organization_state == "suspended"
    assert (await ring.caller(secret)).default_max_tokens == 7
    assert ring.cached(others) is not None


class Deaf(Changes):
    """A watch that never heard anything: it is not started."""


async def test_a_deaf_ring_reads_every_key_again(dsn: str, pool: asyncpg.Pool, acme: Organization) -> None:
    ring = KeyRing(pool, Deaf(dsn))
    _, secret = await new_key(pool, acme.id)
    for _ in range(2):
        assert (await ring.caller(secret)).organization == acme.id
        assert ring.cached(secret) is None
    await pool.execute("update api_key set revoked_at = now()")
    with pytest.raises(Unauthorized):
        await ring.caller(secret)


async def test_a_ring_that_can_neither_hear_nor_read_lets_nobody_in(
    server_dsn: str, dsn: str, pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing
) -> None:
    ring = await key_ring(deaf_s_max=0.5)
    _, secret = await new_key(pool, acme.id)
    await ring.caller(secret)
    name = dsn.rsplit("/", 1)[1]
    elsewhere = await asyncpg.connect(server_dsn)
    await elsewhere.execute(f'alter database "{name}" allow_connections false')
    await elsewhere.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
    await eventually(lambda: ring.cached(secret) is None)
    with pytest.raises(Unavailable):
        await ring.caller(secret)
    await elsewhere.execute(f'alter database "{name}" allow_connections true')
    await elsewhere.close()

    async def known_again() -> bool:
        with contextlib.suppress(Unavailable):
            await ring.caller(secret)
        return ring.cached(secret) is not None

    await eventually(known_again)


async def test_a_row_read_before_a_revocation_is_not_remembered_after_it(
    dsn: str, pool: asyncpg.Pool, acme: Organization
) -> None:
    key, secret = await new_key(pool, acme.id)
    held_back = HeldBack(pool)
    changes = Changes(dsn, NEVER_S)
    ring = KeyRing(held_back, changes, deaf_s_max=NEVER_S)
    revoked = asyncio.Event()
    changes.subscribe("api_key", lambda subject: revoked.set() if subject else None)
    await changes.start()
    early = asyncio.create_task(ring.caller(secret))
    await asyncio.wait_for(held_back.has_answer.wait(), PATIENCE_S)
    late_but_before_the_answer = asyncio.create_task(_after(revoked, lambda: ring.caller(secret)))
    async with pool.acquire() as connection:
        await api_key.revoke(connection, organization=acme.id, key=key)
    await asyncio.wait_for(revoked.wait(), PATIENCE_S)
    await asyncio.sleep(0)
    held_back.released.set()
    assert (await early).key == key  # it asked before the revocation
    with pytest.raises(Unauthorized):
        await late_but_before_the_answer
    assert ring.cached(secret) is None
    await changes.stop()


async def _after(event: asyncio.Event, ask: Callable[[], Awaitable[object]]) -> None:
    await event.wait()
    await ask()


async def test_what_it_remembers_is_bounded(
    pool: asyncpg.Pool, acme: Organization, key_ring: MakeKeyRing, questions: Questions
) -> None:
    ring = await key_ring(keys_max=3, unknown_max=4)
    secrets = [(await new_key(pool, acme.id))[1] for _ in range(6)]
    for secret in secrets:
        await ring.caller(secret)
    assert [ring.cached(secret) is not None for secret in secrets] == [False] * 3 + [True] * 3
    unknown = [new_token("tsk_") for _ in range(6)]

    async def try_all() -> None:
        for secret in unknown:
            with pytest.raises(Unauthorized):
                await ring.caller(secret)

    assert await questions.during(try_all()) == 6
    assert await questions.during(try_all()) == 6
    unknown = unknown[-4:]
    assert await questions.during(try_all()) == 0
