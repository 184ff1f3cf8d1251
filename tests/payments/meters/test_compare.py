"""Every way in which our records and Stripe can differ has its cause, and is mended where it can be."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tallystick.payments.meters import mend as mending
from tallystick.payments.meters.compare import Difference
from tallystick.payments.meters.mend import Mended, mend_one
from tallystick.payments.meters.send import send
from tallystick.payments.stripe.meter import MeterEvent, cancel_event, send_event
from tests.payments.meters.metered import HOUR, SESSIONS, TOKENS, Metered

Control = Callable[..., Any]


async def causes(acme: Metered) -> list[tuple[str, int]]:
    return [(one.cause, one.units) for one in (await acme.compare()).differences]


async def mend(acme: Metered) -> Mended:
    return await mend_one(acme.pool, acme.stripe, acme.id, await acme.compare(), by="operator:ada")


async def long_ago(acme: Metered) -> None:
    """So that Stripe's sums show what it took."""
    await acme.age(timedelta(minutes=11))


async def note_a_pause(acme: Metered, hour: datetime) -> None:
    """Part of the hour was not Stripe's to bill, as is noted afterwards."""
    await acme.move(hour + timedelta(minutes=30), plan="ours")
    await acme.move(hour + timedelta(minutes=55), plan="metered")


async def test_where_nothing_differs_the_sums_say_so_and_what_was_sent_is_confirmed(
    acme: Metered, hour: datetime
) -> None:
    await acme.sessions(hour, 3)
    await acme.sessions(hour - 20 * HOUR, 2)
    await acme.report()
    found = await acme.compare()
    assert found.differences == []
    assert found.until is not None
    assert hour + HOUR <= found.until == found.until.replace(minute=0, second=0, microsecond=0)
    period, other = found.periods
    assert (other.meter, other.used, other.stripe) == (TOKENS, 0, 0)
    assert (period.meter, period.used, period.stripe, period.starts_at) == (SESSIONS, 5, 5, acme.since)
    assert await acme.states() == ["confirmed", "confirmed"]


async def test_what_is_on_its_way(acme: Metered, control: Control, hour: datetime) -> None:
    await acme.sessions(hour, 3)
    assert await causes(acme) == [("not_collected", 3)]
    await acme.collect()
    assert await causes(acme) == [("waiting", 3)]
    await control("meters", delay_s=60)
    await send(acme.pool, acme.stripe)
    assert await causes(acme) == [("not_shown_yet", 3)]
    await control("meters", delay_s=0)


async def test_an_event_that_stripe_lost_is_told_again(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour, 3)
    await acme.report()
    (row,) = await acme.rows()
    await cancel_event(acme.stripe, row["event_name"], row["identifier"])
    await long_ago(acme)
    (difference,) = (await acme.compare()).differences
    assert difference == Difference(
        organization=acme.id, meter=SESSIONS, hour=hour, units=3, cause="missing", report=row["id"]
    )
    # Its identifier is known for a day; then it is looked for, and told again.
    await acme.age(timedelta(hours=25))
    assert await mend(acme) == Mended(collected=0, sent=1, canceled=0)


async def test_what_was_refused_is_told_when_the_reason_is_gone(acme: Metered, hour: datetime) -> None:
    await acme.move(hour - 30 * HOUR, stripe_customer="cus_nobody")
    await acme.sessions(hour, 3)
    await acme.report()
    await acme.pool.execute("update meter_report set customer = $1", acme.customer)
    # And of the customer that its subscription still names Stripe knows nothing.
    nobody = [("refused", 0)] * 2
    assert await causes(acme) == [("refused", 3), *nobody]
    assert (await mend(acme)).sent == 1
    assert await acme.at_stripe() == 3
    assert await causes(acme) == nobody


async def test_what_nobody_here_told_is_shown_and_left(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour, 3)
    await acme.report()
    event = MeterEvent(
        name="tallystick_agent_sessions", identifier=f"x{acme.id}", customer=acme.customer, units=5, at=hour + HOUR / 2
    )
    await send_event(acme.stripe, event)
    assert await causes(acme) == [("not_ours", -5)]
    await mend(acme)
    assert await causes(acme) == [("not_ours", -5)]
    assert (await acme.compare()).periods[0].stripe == 8


async def test_what_was_told_too_much_is_taken_back_and_told_anew(acme: Metered, hour: datetime) -> None:
    await acme.tokens(hour + timedelta(minutes=10), 6)
    await acme.tokens(hour + timedelta(minutes=50), 4)
    await acme.report()
    await note_a_pause(acme, hour)
    assert await causes(acme) == [("told_too_much", -4)]
    assert await mend(acme) == Mended(collected=1, sent=1, canceled=1)
    assert await causes(acme) == []
    assert await acme.at_stripe(TOKENS) == 6
    assert [(row["units"], row["state"]) for row in await acme.rows()] == [(10, "canceled"), (6, "confirmed")]
    (act,) = await acme.pool.fetch("select * from audit_event where act = 'usage_report.taken_back'")
    assert (act["done_by"], act["organization"]) == ("operator:ada", acme.id)


async def test_after_a_day_what_was_told_too_much_is_only_shown(acme: Metered, hour: datetime) -> None:
    await acme.tokens(hour, 6)
    await acme.report()
    await acme.age(timedelta(hours=24))
    await acme.move(hour - HOUR, plan="ours")
    assert (await mend(acme)).canceled == 0
    assert await causes(acme) == [("told_too_much", -6)]


class Crash(BaseException):
    pass


@pytest.mark.parametrize("step", ["cancel_event", "canceled"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_while_an_event_is_taken_back(
    acme: Metered, hour: datetime, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    await acme.tokens(hour + timedelta(minutes=10), 6)
    await acme.tokens(hour + timedelta(minutes=50), 4)
    await acme.report()
    await note_a_pause(acme, hour)
    target = mending if step == "cancel_event" else mending._queries
    real = getattr(target, step)

    async def crash(*args: Any, **named: Any) -> None:
        if after:
            await real(*args, **named)
        raise Crash

    monkeypatch.setattr(target, step, crash)
    with pytest.raises(Crash):
        await mend(acme)
    monkeypatch.undo()
    await mend(acme)
    await mend(acme)
    assert await acme.at_stripe(TOKENS) == 6
    assert await causes(acme) == []


async def test_two_who_mend_at_once_come_to_the_same(acme: Metered, hour: datetime) -> None:
    await acme.tokens(hour + timedelta(minutes=10), 6)
    await acme.tokens(hour + timedelta(minutes=50), 4)
    await acme.report()
    await note_a_pause(acme, hour)
    await asyncio.gather(*(mend(acme) for _ in range(3)))
    await acme.hurry()
    await mend(acme)
    assert await acme.at_stripe(TOKENS) == 6
    assert await causes(acme) == []


async def test_a_meter_that_stripe_does_not_have(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour, 3)
    await acme.collect()
    await acme.pool.execute("update meter_report set event_name = 'tallystick_unknown'")
    await send(acme.pool, acme.stripe)
    assert ("no_meter", 0) in await causes(acme)


async def test_what_somebody_else_told_is_found_where_we_told_nothing(acme: Metered, hour: datetime) -> None:
    event = MeterEvent(
        name="tallystick_agent_sessions", identifier=f"y{acme.id}", customer=acme.customer, units=2, at=hour
    )
    await send_event(acme.stripe, event)
    assert await causes(acme) == [("not_ours", -2)]
