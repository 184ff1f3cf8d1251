import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.metering.record import Recorded, Refused


def event(who, name, meter="pages", **fields):
    quantity = {} if meter in {"runs", "sessions"} or "quantity" in fields else {"quantity": 1}
    return {"id": name, "organization": who.id, "meter": meter, **quantity, **fields}


def outcomes(answers):
    return [one.outcome if isinstance(one, Recorded) else one.error.code for one in answers]


def increases(answers):
    return [one.increase for one in answers]


async def test_each_meter_counts_in_its_own_way(ada, record):
    answers = await record(
        event(ada, "a", "runs"), event(ada, "b", "runs"),
        event(ada, "c", quantity=12), event(ada, "d", quantity=0), event(ada, "e", quantity=3),
        event(ada, "f", "seats", quantity=4), event(ada, "g", "seats", quantity=3), event(ada, "h", "seats", quantity=9),
        event(ada, "i", "sessions", value="x"), event(ada, "j", "sessions", session="x"),
        event(ada, "k", "sessions", session="y"),
    )  # fmt: skip
    assert increases(answers) == [1, 1, 12, 0, 3, 4, 0, 5, 1, 0, 1]
    again = await record(
        event(ada, "l", "seats", quantity=9),
        event(ada, "m", "seats", quantity=10),
        event(ada, "n", "sessions", value="y"),
    )
    assert increases(again) == [0, 1, 0]


async def test_the_same_event_is_counted_once_and_another_of_its_id_never(ada, eve, record, pool):
    first = await record(event(ada, "a"), event(ada, "a"), event(ada, "a", quantity=2), event(eve, "a", quantity=2))
    assert outcomes(first) == ["recorded", "repeated", "usage_event_conflict", "recorded"]
    second = await record(event(ada, "a", quantity=2), event(ada, "a"), event(ada, "b"))
    assert outcomes(second) == ["usage_event_conflict", "repeated", "recorded"]
    assert second[1].at == first[0].at, "what became of it then"
    assert await pool.fetchval("select sum(increase) from usage_event") == 4
    assert await pool.fetchval("select count(*) from usage_event") == 3


async def test_the_same_events_from_everywhere_at_once_count_once(ada, record, pool, constrain):
    constrain(ada, pages=(0, None, 1, 1), seats=(0, 5, 0, 1))
    batch = [event(ada, f"p{n}", quantity=2) for n in range(40)]
    batch += [event(ada, f"s{n}", "seats", quantity=n) for n in range(40)]
    batch += [event(ada, f"v{n}", "sessions", value=f"s{n % 7}") for n in range(40)]
    many = await asyncio.gather(*(record(*batch[::step]) for step in (1, -1) * 4))
    assert sum(outcomes(answers).count("recorded") for answers in many) == 120
    totals = await pool.fetch(
        "select meter, sum(increase)::int as total from usage_event group by meter order by meter"
    )
    assert [tuple(row) for row in totals] == [("pages", 80), ("seats", 39), ("sessions", 7)]
    counters = await pool.fetch("select meter, used from meter_counter order by meter")
    assert [tuple(row) for row in counters] == [("pages", 80), ("seats", 39)]
