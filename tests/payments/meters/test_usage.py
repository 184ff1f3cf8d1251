"""Usage as charges, events and calls through the ledger's lanes leave it, counted as Stripe and the billing page do."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from tallystick.base.changes import Changes
from tallystick.base.ids import new_id
from tallystick.catalog.meters import BUILT_IN
from tallystick.library.charge_hold import hold_charge, release_charge, settle_charge
from tallystick.payments.meters import verify
from tallystick.payments.meters.bucket import Bucket
from tallystick.payments.meters.usage import Usage, units, usage_in_period
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.usage_record import UsageRecord
from tallystick.subscriptions.live import LiveConstraints
from tests.payments.meters.metered import SESSIONS, TOKENS, Metered

SOON = timedelta(minutes=5)


async def call(lanes: Lanes, acme: Metered, input_tokens: int, output_tokens: int, *, free: bool = False) -> None:
    id_ = new_id()
    await lanes.reserve(id_, acme.account, 0, expires_in_s=60)
    usage = UsageRecord(
        id=id_, account=acme.account, endpoint="chat.completions", alias="fast", provider="open-ai", model="m",
        stream=False, input_tokens=input_tokens, output_tokens=output_tokens, usage_source="provider", cost=7, charge=0,
        reserved=0, outcome="empty" if free else "completed", rule="empty" if free else "completed", status=200,
        attempts=1, latency_ms=3,
    )  # fmt: skip
    if free:
        await lanes.release(id_, acme.account, usage=usage)
    else:
        await lanes.settle(id_, acme.account, 0, usage=usage)


async def charge(lanes: Lanes, acme: Metered, quantity: int, used: int | None) -> None:
    constraints = await LiveConstraints(acme.pool, Changes("")).find(acme.id)
    held = await hold_charge(
        acme.pool, lanes, constraints, BUILT_IN[SESSIONS], quantity,
        now=datetime.now(UTC), feature=None, request_id=None, lasts_s=60,
    )  # fmt: skip
    if used is None:
        await release_charge(acme.pool, lanes, acme.account, UUID(held.id))
    else:
        await settle_charge(acme.pool, lanes, acme.account, UUID(held.id), used)


async def test_every_way_of_using_something_is_counted_once(acme: Metered, lanes: Lanes) -> None:
    now = datetime.now(UTC)
    await call(lanes, acme, 100, 20)
    await call(lanes, acme, 5, 5)
    await call(lanes, acme, 1_000, 0, free=True)
    await charge(lanes, acme, 5, 3)
    await charge(lanes, acme, 9, None)
    await acme.sessions(now - timedelta(seconds=1), 2)
    bucket = Bucket(
        starts_at=now - SOON,
        ends_at=now + SOON,
        period_starts_at=acme.since,
        period_ends_at=now + SOON,
        allowances={SESSIONS: 0, TOKENS: 0, "llm_input_tokens_open_ai": 0, "llm_output_tokens_open_ai": 0},
        customer=None,
    )
    async with acme.pool.acquire() as connection:
        found = await units(connection, acme.account, [bucket])
        shown = await usage_in_period(connection, acme.account, now - SOON, now + SOON)
        before = await usage_in_period(connection, acme.account, acme.since, now - SOON)
    assert {meter: number for (meter, _), number in found.items()} == {
        SESSIONS: 5,
        TOKENS: 130,
        "llm_input_tokens_open_ai": 105,
        "llm_output_tokens_open_ai": 25,
    }
    # The page shows tokens that were used for nothing, too.
    assert shown == Usage(agent_sessions=5, llm_tokens=1_130)
    assert before == Usage(agent_sessions=0, llm_tokens=0)


async def kept(acme: Metered) -> asyncpg.Record | None:
    row: asyncpg.Record | None = await acme.pool.fetchrow("select * from period_usage")
    return row


async def test_a_period_that_is_looked_at_again_is_the_same_as_read_anew(acme: Metered) -> None:
    """Whatever was used since: now, and of the part that is kept, by events that come late."""
    now = datetime.now(UTC)
    starts_at, ends_at = now - timedelta(days=20), now + timedelta(days=10)

    async def look() -> Usage:
        async with acme.pool.acquire() as connection:
            return await usage_in_period(connection, acme.account, starts_at, ends_at)

    for days in range(25):
        await acme.tokens(now - timedelta(days=days, hours=2), 10 + days)
    await acme.charged(now - timedelta(days=3), 4)
    await acme.charged(now - timedelta(minutes=5), 2)
    await acme.sessions(now - timedelta(days=1), 1)
    first = await look()
    assert first == Usage(agent_sessions=7, llm_tokens=sum(10 + days for days in range(20)))
    assert await look() == first
    await acme.tokens(now, 1_000, state="released")
    await acme.charged(now, 8)
    await acme.sessions(now - timedelta(days=1, hours=20), 16)
    again = await look()
    assert again == Usage(agent_sessions=31, llm_tokens=first.llm_tokens + 1_000)
    row = await kept(acme)
    assert row is not None
    assert (row["agent_sessions"], row["llm_tokens"]) == (4, first.llm_tokens - 10)
    assert now - timedelta(hours=26) < row["until"] <= datetime.now(UTC) - timedelta(days=1)
    await acme.pool.execute("delete from period_usage")
    assert await look() == again


async def test_what_is_kept_is_read_for_its_own_period_alone(acme: Metered) -> None:
    now = datetime.now(UTC)
    await acme.tokens(now - timedelta(days=5), 7)
    await acme.tokens(now - timedelta(days=3), 11)
    looks = [(6, 0, 18), (6, 0, 18), (4, 0, 11), (6, 4, 7), (6, 0, 18)]
    async with acme.pool.acquire() as connection:
        for since, until, tokens in looks:
            found = await usage_in_period(
                connection, acme.account, now - timedelta(days=since), now - timedelta(days=until)
            )
            assert found == Usage(agent_sessions=0, llm_tokens=tokens)
        # What is kept is not read again, so that only verify sees that it is wrong.
        (check,) = (one for one in verify.checks if "kept" in one.name)
        assert await check.run(connection) == []
        await connection.execute("update period_usage set llm_tokens = llm_tokens + 1")
        assert len(await check.run(connection)) == 1
        found = await usage_in_period(connection, acme.account, now - timedelta(days=6), now)
        assert found.llm_tokens == 19
