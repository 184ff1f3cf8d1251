"""What is written down to be told: every unit of every hour that ended, once."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from tallystick.payments.meters.collect import collect
from tests.payments.meters.metered import HOUR, SESSIONS, TOKENS, Metered


async def test_an_hour_that_ended_is_one_report_for_each_meter(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour, 2)
    await acme.sessions(hour + timedelta(minutes=59), 3)
    await acme.tokens(hour + timedelta(minutes=5), 1_000)
    assert await acme.collect() == 2
    first, second = await acme.rows()
    assert (first["meter"], first["units"], first["starts_at"], first["revision"]) == (SESSIONS, 5, hour, 1)
    assert (second["meter"], second["units"], second["counts_at"]) == (TOKENS, 1_000, hour)
    told = f"{acme.id}|{SESSIONS}|{hour.isoformat()}|1"
    assert first["identifier"] == sha256(told.encode()).hexdigest()
    assert (first["customer"], first["event_name"]) == (acme.customer, "tallystick_agent_sessions")


async def test_nothing_is_written_twice_and_the_running_hour_waits(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour - HOUR, 2)
    await acme.sessions(hour + HOUR + timedelta(seconds=1))
    running = hour + HOUR + timedelta(minutes=30)
    assert [await acme.collect(running) for _ in range(3)] == [1, 0, 0]


async def test_what_comes_late_is_the_next_revision(acme: Metered, hour: datetime) -> None:
    for units in (2, 1, 4):
        await acme.sessions(hour, units)
        await acme.collect()
    rows = await acme.rows()
    assert [(row["revision"], row["units"], row["starts_at"]) for row in rows] == [
        (1, 2, hour),
        (2, 1, hour),
        (3, 4, hour),
    ]
    assert [row["counts_at"] - hour for row in rows] == [timedelta(minutes=minute) for minute in range(3)]


async def test_what_comes_very_late_is_found_by_the_next_look_at_everything(acme: Metered, hour: datetime) -> None:
    await acme.collect()
    await acme.sessions(hour - 30 * HOUR, 2)
    assert await acme.collect() == 0
    await acme.pool.execute("update meter_look set looked_at = looked_at - interval '6 hours'")
    assert await acme.collect() == 1


async def test_what_our_ledger_charged_is_not_told_to_stripe(acme: Metered, hour: datetime) -> None:
    await acme.tokens(hour, 500, charge=7)
    await acme.tokens(hour, 300, state="released")
    await acme.tokens(hour, 200, provider="other")
    assert await acme.collect() == 0
    await acme.tokens(hour, 100)
    await acme.collect()
    assert [row["units"] for row in await acme.rows()] == [100]


async def test_stripes_plans_charge_nothing_here(acme: Metered, hour: datetime) -> None:
    """Beyond the allowance, too."""
    assert [one.charge for one in await acme.sessions(hour, 10)] == [0] * 10


async def test_a_period_that_ends_within_an_hour_divides_it(new_metered: Callable[..., Any], hour: datetime) -> None:
    """Its last part is told at once when it ended, and not when its hour has."""
    turn = hour + timedelta(minutes=20, seconds=30)
    acme: Metered = await new_metered(hour - timedelta(days=40))
    await acme.move(hour - timedelta(days=40), anchor=turn)
    start = hour
    await acme.tokens(turn - timedelta(seconds=20), 10)
    await acme.tokens(turn + timedelta(seconds=5), 7)
    assert await acme.collect(turn + timedelta(minutes=3)) == 1
    (row,) = await acme.rows()
    assert (row["units"], row["starts_at"], row["ends_at"]) == (10, start, turn)
    assert row["period_ends_at"] == turn
    assert start <= row["counts_at"] < turn


async def test_both_parts_of_a_divided_hour_keep_to_their_period(
    new_metered: Callable[..., Any], hour: datetime
) -> None:
    turn = hour - HOUR + timedelta(minutes=34, seconds=56, microseconds=500)
    acme: Metered = await new_metered(hour - timedelta(days=40))
    await acme.move(hour - timedelta(days=40), anchor=turn)
    await acme.tokens(turn - timedelta(microseconds=1), 10)
    await acme.tokens(turn, 7)
    # Before the period's invoice was final.
    assert await acme.collect(turn + timedelta(minutes=40)) == 2
    first, second = await acme.rows()
    assert (first["units"], second["units"]) == (10, 7)
    assert first["counts_at"] < turn <= second["counts_at"] < second["ends_at"]
    assert (first["period_ends_at"], second["starts_at"]) == (turn, turn)


async def test_what_comes_after_the_invoice_is_final_counts_in_the_period_it_comes_in(
    new_metered: Callable[..., Any], hour: datetime, now: datetime
) -> None:
    turn = hour - 3 * HOUR
    acme: Metered = await new_metered(hour - timedelta(days=40))
    await acme.move(hour - timedelta(days=40), anchor=turn)
    await acme.tokens(turn - timedelta(minutes=20), 10)
    await acme.tokens(turn - timedelta(hours=30), 5)
    assert await acme.collect() == 2
    rows = await acme.rows()
    assert all(turn <= row["counts_at"] for row in rows)
    assert all(now < row["period_ends_at"] for row in rows)
    assert len({row["counts_at"].replace(second=0) for row in rows}) == 2


async def test_what_comes_after_the_last_invoice_is_set_aside_with_its_reason(
    new_metered: Callable[..., Any], hour: datetime
) -> None:
    acme: Metered = await new_metered(hour - timedelta(days=2))
    end = hour - 3 * HOUR
    await acme.move(end, status="canceled", ended_at=end)
    await acme.tokens(end - timedelta(minutes=20), 10)
    await acme.tokens(end + timedelta(minutes=20), 5)
    assert await acme.collect() == 1
    (row,) = await acme.rows()
    assert (row["units"], row["state"]) == (10, "failed")
    assert "last invoice" in row["problem"]


async def test_before_stripe_billed_and_after_it_did_nothing_is_told(acme: Metered, hour: datetime) -> None:
    await acme.tokens(acme.since - timedelta(seconds=1), 3)
    await acme.tokens(acme.since, 5)
    await acme.move(hour - 5 * HOUR, plan="ours")
    await acme.tokens(hour - 5 * HOUR, 7)
    await acme.collect()
    assert [row["units"] for row in await acme.rows()] == [5]


async def test_a_boundary_that_is_noted_late_tells_no_unit_twice(acme: Metered, hour: datetime) -> None:
    await acme.tokens(hour + timedelta(minutes=10), 6)
    await acme.tokens(hour + timedelta(minutes=50), 4)
    await acme.collect()
    # Stripe says: since half past, a period of its own.
    await acme.move(hour + timedelta(minutes=30), anchor=hour + timedelta(minutes=30))
    assert await acme.collect() == 0
    await acme.tokens(hour + timedelta(minutes=55), 2)
    assert await acme.collect() == 1
    assert [row["units"] for row in await acme.rows()] == [10, 2]


async def test_two_who_collect_at_once_write_everything_once(acme: Metered, hour: datetime) -> None:
    for back in range(5):
        await acme.sessions(hour - back * HOUR, back + 1)
    await asyncio.gather(*(acme.collect(all_=True) for _ in range(6)))
    assert sorted(row["units"] for row in await acme.rows()) == [1, 2, 3, 4, 5]


async def test_what_is_not_committed_yet_is_the_next_looks(acme: Metered, hour: datetime) -> None:
    async with acme.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        other = Metered(acme.pool, acme.stripe, acme.id, acme.account, acme.customer, acme.since)
        other.pool = connection
        await other.tokens(hour, 9)
        assert await acme.collect() == 0
        await transaction.commit()
    assert await acme.collect() == 1


async def test_every_organization_that_stripe_bills_is_collected(
    new_metered: Callable[..., Any], acme: Metered, hour: datetime
) -> None:
    other: Metered = await new_metered(hour - timedelta(days=1))
    await acme.sessions(hour, 1)
    await other.sessions(hour, 2)
    assert await collect(acme.pool, livemode=False) == 2
    assert [row["units"] for row in await other.rows()] == [2]


async def test_only_what_lies_beyond_the_allowance_is_told(acme: Metered, hour: datetime) -> None:
    await acme.move(acme.since, plan="included")
    await acme.sessions(hour - 20 * HOUR, 4)
    assert await acme.collect() == 0
    await acme.sessions(hour, 3)
    assert await acme.collect(all_=True) == 1
    # Late, before: an earlier hour takes of the allowance, so that more of the later one lies beyond it.
    await acme.sessions(hour - 30 * HOUR, 1)
    assert await acme.collect(all_=True) == 1
    assert [(row["starts_at"], row["units"]) for row in await acme.rows()] == [(hour, 2), (hour, 1)]
    await acme.sessions(hour - 30 * HOUR, 7)
    await acme.collect(all_=True)
    assert sum(row["units"] for row in await acme.rows()) == 4 + 3 + 1 + 7 - 5


async def test_an_allowance_is_looked_at_whenever_an_hour_has_ended(acme: Metered, hour: datetime) -> None:
    await acme.move(acme.since, plan="included")
    await acme.collect(hour - timedelta(minutes=30))
    await acme.sessions(hour - HOUR, 7)
    assert await acme.collect(hour - timedelta(minutes=20)) == 0
    assert await acme.collect(hour + timedelta(minutes=3)) == 1


async def test_every_period_has_its_allowance(new_metered: Callable[..., Any], hour: datetime) -> None:
    turn = hour - 20 * HOUR + timedelta(minutes=30)
    acme: Metered = await new_metered(hour - timedelta(days=20))
    await acme.move(hour - timedelta(days=20), plan="included", anchor=turn)
    for at in (turn - HOUR, turn):
        # Told as of now: what happened before the anchor comes as charges, not as events.
        await acme.charged(at, 7)
    await acme.collect()
    assert sorted(row["units"] for row in await acme.rows()) == [2, 2]


async def test_a_renewal_that_is_noted_minutes_later_closes_nothing(
    new_metered: Callable[..., Any], hour: datetime
) -> None:
    """Stripe's periods are counted from each one's own start: the new start is noted when it is heard of."""
    turn = hour - 30 * HOUR
    acme: Metered = await new_metered(hour - timedelta(days=20))
    await acme.move(hour - timedelta(days=20), plan="included", anchor=turn)
    await acme.move(turn + timedelta(minutes=7), anchor=turn)
    await acme.move(turn + timedelta(minutes=9), plan="metered")
    for at in (turn + timedelta(minutes=3), turn + timedelta(minutes=8), turn + timedelta(minutes=40)):
        await acme.charged(at, 4)
    await acme.collect()
    rows = await acme.rows()
    assert sum(row["units"] for row in rows) == 12 - 5
    assert {row["period_ends_at"] for row in rows} == {rows[-1]["period_ends_at"]}
    assert all(row["starts_at"] <= row["counts_at"] < row["ends_at"] for row in rows)
