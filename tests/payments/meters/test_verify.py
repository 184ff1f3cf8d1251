"""The checks of reports find what was told too much, too little or under another name, and nothing else."""

from datetime import datetime, timedelta

from tallystick.payments.meters.verify import checks
from tests.payments.meters.metered import HOUR, Metered


async def problems(acme: Metered) -> list[str]:
    async with acme.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return [problem for check in checks for problem in await check.run(connection)]


async def looked_since(acme: Metered) -> None:
    """The subscription was made long before the last look, and not in this test's seconds."""
    await acme.pool.execute("update meter_look set looked_at = looked_at + interval '6 minutes'")


async def test_what_was_told_as_it_was_used_is_right_and_so_is_what_came_since(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour, 3)
    await acme.tokens(hour - 3 * HOUR, 9)
    await acme.report()
    await acme.sessions(hour - 20 * HOUR, 2)
    assert await problems(acme) == []


async def test_what_was_told_too_much(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour, 3)
    await acme.collect()
    await acme.pool.execute("update meter_report set units = 4")
    (problem,) = await problems(acme)
    assert problem.startswith(f"Stripe was told 1 units of agent_sessions too much of {acme.id} in the hour from 20")


async def test_what_was_forgotten(acme: Metered, hour: datetime) -> None:
    await acme.tokens(hour - 3 * HOUR, 9)
    await acme.collect()
    await looked_since(acme)
    assert await problems(acme) == []
    await acme.pool.execute("delete from meter_report")
    (problem,) = await problems(acme)
    assert problem.startswith("9 units of llm_tokens_open_ai")


async def test_a_report_under_another_identifier(acme: Metered, hour: datetime) -> None:
    await acme.move(hour - 5 * HOUR, anchor=hour + timedelta(minutes=1, microseconds=50_070))
    await acme.tokens(hour, 9)
    await acme.tokens(hour + timedelta(minutes=2), 9)
    assert await acme.collect() == 2
    assert await problems(acme) == []
    await acme.pool.execute("update meter_report set identifier = 'x' where id = (select min(id) from meter_report)")
    (problem,) = await problems(acme)
    assert "has an identifier that does not follow from it" in problem
