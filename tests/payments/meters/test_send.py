"""Stripe is told each report once, whatever fails: the sum it has in the end is the sum of our records."""

import asyncio
import random
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from tallystick.payments.meters import send as sending
from tallystick.payments.meters.send import send
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.meter import MeterEvent, send_event
from tests.payments.meters.metered import HOUR, SESSIONS, TOKENS, Metered

EVENTS = "/v1/billing/meter_events"
Control = Callable[..., Any]


class Crash(BaseException):
    pass


async def test_stripe_has_what_was_used(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour, 4)
    await acme.sessions(hour - HOUR, 2)
    await acme.tokens(hour, 1_234)
    assert await acme.report() == 3
    assert await acme.states() == ["sent"] * 3
    assert (await acme.at_stripe(SESSIONS), await acme.at_stripe(TOKENS)) == (6, 1_234)
    assert await acme.at_stripe(SESSIONS, since=hour) == 4
    assert await acme.report() == 0


async def test_several_are_under_way_at_once_and_no_more(
    acme: Metered, control: Control, hour: datetime, stripe_address: str
) -> None:
    for back in range(sending.AT_A_TIME + 3):
        await acme.sessions(hour - back * HOUR, back + 1)
    written = await acme.collect()
    stripe = StripeClient("sk_test_of_the_tests", api_base=stripe_address, timeout_s=30)
    await control("faults", kind="slow", times=sending.AT_A_TIME, path=EVENTS, seconds=3)
    sent, most = asyncio.create_task(send(acme.pool, stripe)), 0
    while not sent.done():
        rows = await acme.rows()
        under_way = [row for row in rows if row["attempts"] and row["state"] == "waiting"]
        most = max(most, len(under_way))
        await asyncio.sleep(0.02)
    await stripe.close()
    assert most == sending.AT_A_TIME
    assert await sent == written == sending.AT_A_TIME + 3
    assert await acme.at_stripe() == sum(row["units"] for row in await acme.rows())


async def test_what_fails_with_one_keeps_no_other_from_being_sent(
    acme: Metered, hour: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for back in range(20):
        await acme.sessions(hour - back * HOUR)
    await acme.collect()
    bad = (await acme.rows())[0]["identifier"]

    async def fail_with_one(stripe: StripeClient, event: MeterEvent) -> Literal["taken", "known"]:
        if event.identifier == bad:
            raise Crash
        return await send_event(stripe, event)

    monkeypatch.setattr(sending, "send_event", fail_with_one)
    with pytest.raises(Crash):
        await send(acme.pool, acme.stripe)
    assert await acme.states() == ["waiting", *["sent"] * 19]


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that each planned fault meets the report it is for."""
    monkeypatch.setattr(sending, "AT_A_TIME", 1)


@pytest.mark.parametrize(
    "kind", ["error_500", "bad_gateway_502", "unavailable_503", "rate_limited_429", "reset_before", "reset_after"]
)
async def test_every_failure_of_stripe_ends_with_the_units_there_once(
    acme: Metered, control: Control, hour: datetime, kind: str
) -> None:
    await acme.sessions(hour, 4)
    # The SDK tries twice, under a key of its own.
    await control("faults", kind=kind, times=2, path=EVENTS)
    await acme.collect()
    await send(acme.pool, acme.stripe)
    (row,) = await acme.rows()
    assert (row["state"], row["attempts"]) == ("waiting", 1)
    assert row["problem"]
    done = 0
    # Under a key that failed Stripe repeats the failure, so that one fault may be left.
    for _ in range(2):
        await acme.hurry()
        done += await send(acme.pool, acme.stripe)
    assert done == 1
    assert await acme.at_stripe() == 4


async def test_an_answer_that_never_comes_is_asked_for_again(
    acme: Metered, control: Control, hour: datetime, stripe_address: str
) -> None:
    await acme.sessions(hour, 4)
    await acme.collect()
    stripe = StripeClient("sk_test_of_the_tests", api_base=stripe_address, timeout_s=0.3, retries=0)
    await control("faults", kind="timeout", times=1, path=EVENTS, seconds=1)
    await send(acme.pool, stripe)
    await stripe.close()
    assert await acme.states() == ["waiting"]
    await acme.hurry()
    await send(acme.pool, acme.stripe)
    # Stripe knew the identifier.
    assert await acme.states() == ["confirmed"]
    assert await acme.at_stripe() == 4


async def test_what_stripe_refuses_is_set_aside_with_its_reason(acme: Metered, hour: datetime) -> None:
    await acme.pool.execute("update stripe_customer set id = 'cus_nobody' where organization = $1", acme.id)
    await acme.move(hour - 30 * HOUR, stripe_customer="cus_nobody")
    await acme.sessions(hour, 4)
    assert await acme.report() == 0
    (row,) = await acme.rows()
    assert (row["state"], row["problem"]) == ("failed", "Stripe refused it (resource_missing).")


@pytest.mark.usefixtures("one_by_one")
async def test_a_report_of_unknown_outcome_is_looked_for_when_its_identifier_may_be_forgotten(
    acme: Metered, control: Control, hour: datetime
) -> None:
    """One that is there and one that is not: after a day Stripe would take both again."""
    await acme.sessions(hour - HOUR, 4)
    await acme.sessions(hour, 2)
    await acme.collect()
    await control("faults", kind="reset_after", times=2, path=EVENTS)
    await control("faults", kind="reset_before", times=2, path=EVENTS)
    await send(acme.pool, acme.stripe)
    assert await acme.states() == ["waiting", "waiting"]
    assert await acme.at_stripe() == 4
    await acme.age(timedelta(hours=25))
    await acme.hurry()
    assert await send(acme.pool, acme.stripe) == 2
    assert await acme.states() == ["confirmed", "sent"]
    assert await acme.at_stripe() == 6


@pytest.mark.usefixtures("one_by_one")
async def test_a_period_that_closed_while_stripe_was_away_is_told_in_the_next_one(
    new_metered: Callable[..., Any], control: Control, hour: datetime
) -> None:
    turn = hour - HOUR
    acme: Metered = await new_metered(hour - timedelta(days=20))
    await acme.move(hour - timedelta(days=20), anchor=turn)
    await acme.tokens(turn - timedelta(minutes=30), 11)
    await acme.tokens(turn - timedelta(minutes=90), 7)
    # Collected in time; the first attempt is lost on its way, the second on its way back.
    await acme.collect(turn + timedelta(minutes=3))
    await control("faults", kind="reset_before", times=2, path=EVENTS)
    await control("faults", kind="reset_after", times=2, path=EVENTS)
    rows = await acme.rows()
    await acme.pool.execute("update meter_report set period_ends_at = $1", datetime.now(UTC))
    await send(acme.pool, acme.stripe)
    assert await acme.states() == ["waiting", "waiting"]
    await acme.pool.execute("update meter_report set period_ends_at = $1", turn)
    await acme.age(timedelta(hours=2))
    await acme.hurry()
    assert await send(acme.pool, acme.stripe) == 2
    assert await acme.at_stripe(TOKENS) == 18
    # What had come through in time stays there; the other is on the next invoice.
    assert await acme.at_stripe(TOKENS, to=turn) == rows[1]["units"]
    assert await acme.at_stripe(TOKENS, since=turn) == rows[0]["units"]


async def test_two_who_send_at_once_tell_everything_once(acme: Metered, hour: datetime) -> None:
    for back in range(8):
        await acme.sessions(hour - back * HOUR, back + 1)
    await acme.collect()
    sent = await asyncio.gather(*(send(acme.pool, acme.stripe) for _ in range(4)))
    assert sum(sent) == 8
    assert await acme.at_stripe() == 36


async def test_the_same_report_sent_by_two_is_there_once(acme: Metered, hour: datetime) -> None:
    """The first was so slow that its report was given to another."""
    await acme.sessions(hour, 3)
    await acme.collect()

    async def second() -> int:
        await asyncio.sleep(0.1)
        await acme.hurry()
        return await send(acme.pool, acme.stripe)

    await asyncio.gather(send(acme.pool, acme.stripe), second())
    await acme.hurry()
    await send(acme.pool, acme.stripe)
    assert (await acme.states())[0] in {"sent", "confirmed"}
    assert await acme.at_stripe() == 3


@pytest.mark.parametrize("step", ["send_event", "note"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_step_of_sending(
    acme: Metered, hour: datetime, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    await acme.sessions(hour, 3)
    await acme.collect()
    target = sending if step == "send_event" else sending._queries
    real = getattr(target, step)

    async def crash(*args: Any, **named: Any) -> None:
        if after:
            await real(*args, **named)
        raise Crash

    monkeypatch.setattr(target, step, crash)
    with pytest.raises(Crash):
        await send(acme.pool, acme.stripe)
    monkeypatch.undo()
    await acme.hurry()
    await send(acme.pool, acme.stripe)
    assert (await acme.states())[0] in {"sent", "confirmed"}
    assert await acme.at_stripe() == 3


KILLED = """
import asyncio, sys
from tallystick.base.database import open_pool
from tallystick.payments.meters.collect import collect
from tallystick.payments.meters.send import send
from tallystick.payments.stripe.client import StripeClient

async def run():
    stripe = StripeClient("sk_test_of_the_tests", api_base=sys.argv[2])
    async with await open_pool(sys.argv[1]) as pool:
        print("began", flush=True)
        while True:
            await collect(pool, livemode=False)
            await pool.execute("update meter_report set retry_at = clock_timestamp() where state = 'waiting'")
            await send(pool, stripe)

asyncio.run(run())
"""


async def test_processes_that_are_killed_again_and_again(
    acme: Metered, hour: datetime, dsn: str, stripe_address: str
) -> None:
    chance = random.Random(7)
    units = 0
    for round_ in range(6):
        for back in range(10):
            await acme.sessions(hour - chance.randrange(40) * HOUR, back % 3 + 1)
            units += back % 3 + 1
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", KILLED, dsn, stripe_address), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(chance.random() * 0.3 + 0.02 * round_)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await acme.collect(all_=True)
    await acme.hurry()
    await send(acme.pool, acme.stripe)
    assert await acme.at_stripe() == units
    assert sum(row["units"] for row in await acme.rows()) == units


async def test_whatever_fails_the_sums_are_the_same_in_the_end(acme: Metered, control: Control, hour: datetime) -> None:
    chance = random.Random(20261121)
    used = {SESSIONS: 0, TOKENS: 0}
    kinds = ["error_500", "unavailable_503", "reset_before", "reset_after", "rate_limited_429"]
    for _ in range(25):
        at = hour - chance.randrange(40) * HOUR + timedelta(seconds=chance.randrange(3_600))
        if chance.random() < 0.5:
            times = chance.randrange(1, 4)
            await acme.sessions(at, times)
            used[SESSIONS] += times
        else:
            units = chance.randrange(1, 10_000)
            await acme.tokens(at, units)
            used[TOKENS] += units
        if chance.random() < 0.5:
            await control("faults", kind=chance.choice(kinds), times=chance.choice([1, 2]), path="/v1/billing")
        await acme.collect(all_=chance.random() < 0.3)
        await acme.hurry()
        await send(acme.pool, acme.stripe)
    await acme.collect(all_=True)
    for _ in range(4):
        await acme.hurry()
        await send(acme.pool, acme.stripe)
    assert {meter: await acme.at_stripe(meter) for meter in used} == used
    assert set(await acme.states()) <= {"sent", "confirmed"}
    assert (await acme.compare()).differences == []
