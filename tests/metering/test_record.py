import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.accounts import api_key, organization, user
from tallystick.app.verification import verify_books
from tallystick.base.errors import InvalidInput
from tallystick.base.ids import new_id
from tallystick.constraints.period import period_at
from tallystick.ledger import read
from tallystick.metering.lateness import Lateness
from tallystick.metering.record import Recorded
from tallystick.metering.verify import checks
from tallystick.payments.orders.grant import grant


def event(who, name, meter="pages", **fields):
    quantity = {} if meter in {"runs", "sessions"} or "quantity" in fields else {"quantity": 1}
    return {"id": name, "organization": who.id, "meter": meter, **quantity, **fields}


def outcomes(answers):
    return [one.outcome if isinstance(one, Recorded) else one.error.code for one in answers]


def increases(answers):
    return [one.increase for one in answers]


async def problems(pool):
    found = [problem for outcome in (await verify_books(pool)).outcomes for problem in outcome.problems]
    async with pool.acquire() as connection:
        for check in checks:
            found += await check.run(connection)
    return found


async def test_each_meter_counts_in_its_own_way(ada, record):
    answers = await record(
        event(ada, "a", "runs"), event(ada, "b", "runs"),
        event(ada, "c", quantity=12), event(ada, "d", quantity=0), event(ada, "e", quantity=3),
        event(ada, "f", "seats", quantity=4), event(ada, "g", "seats", quantity=3),
        event(ada, "h", "seats", quantity=9),
        event(ada, "i", "sessions", value="x"), event(ada, "j", "sessions", session="x"),
        event(ada, "k", "sessions", session="y"),
    )  # fmt: skip
    assert increases(answers) == [1, 1, 12, 0, 3, 4, 0, 5, 1, 0, 1]
    again = await record(
        event(ada, "l", "seats", quantity=9),
        event(ada, "m", "seats", quantity=10),
        event(ada, "n", "sessions", value="y"),
        event(ada, "o", "sessions", value="z", session="y"),
    )
    assert increases(again) == [0, 1, 0, 1]


async def test_what_was_told_is_kept(ada, record, pool):
    properties = {"document": "a.pdf", "pages": 12}
    async with pool.acquire() as connection:
        key = (await api_key.create(connection, organization=ada.id, name="laptop")).key.id
    await record(event(ada, "a", key=key, model="ocr-2", session="s-41", properties=properties))
    row = await pool.fetchrow("select * from usage_event")
    assert (row["api_key"], row["model"], row["session"]) == (key, "ocr-2", "s-41")
    assert row["properties"] == '{"pages": 12, "document": "a.pdf"}'
    assert (row["told_at"], row["hold"]) == (None, None)


async def test_one_that_is_wrong_stops_no_other(ada, record, pool):
    answers = await record(
        event(ada, "a"), 7, event(ada, "b", quantity=1.5), event(ada, "c", "unheard"), {**event(ada, "d"), "extra": 1},
        {"id": "e", "user_id": "user_nobody", "meter": "pages", "quantity": 1}, event(ada, "f", key="key_nobody"),
        event(ada, "g"),
    )  # fmt: skip
    bad = "invalid_request"
    assert outcomes(answers) == ["recorded", bad, bad, bad, bad, "not_found", "not_found", "recorded"]
    assert [one.id for one in answers] == ["a", None, "b", "c", "d", "e", "f", "g"]
    assert await pool.fetchval("select count(*) from usage_event") == 2


async def test_a_batch_has_one_to_a_thousand_events(ada, record):
    for size in (0, 1001):
        with pytest.raises(InvalidInput):
            await record(*(event(ada, str(n)) for n in range(size)))
    answers = await record(*(event(ada, str(n)) for n in range(1000)))
    assert outcomes(answers) == ["recorded"] * 1000


async def test_the_same_event_is_counted_once_and_another_of_its_id_never(ada, eve, record, pool):
    first = await record(event(ada, "a"), event(ada, "a"), event(ada, "a", quantity=2), event(eve, "a", quantity=2))
    assert outcomes(first) == ["recorded", "repeated", "usage_event_conflict", "recorded"]
    second = await record(event(ada, "a", quantity=2), event(ada, "a"), event(ada, "b"))
    assert outcomes(second) == ["usage_event_conflict", "repeated", "recorded"]
    assert second[1].at == first[0].at, "what became of it then"
    assert await pool.fetchval("select sum(increase) from usage_event") == 4
    assert await pool.fetchval("select count(*) from usage_event") == 3


async def test_a_user_and_their_organization_are_the_same_payer(record, pool):
    ada = await user.sign_up(pool, email="ada@example.com", password="correct horse")
    one = {"id": "a", "meter": "pages", "quantity": 1}
    answers = await record({**one, "user_id": ada.user_id}, {**one, "organization": ada.organization_id})
    assert outcomes(answers) == ["recorded", "repeated"]


async def test_a_key_of_someone_else_is_not_found_like_one_of_nobody(ada, eve, record, pool):
    async with pool.acquire() as connection:
        key = (await api_key.create(connection, organization=eve.id, name="laptop")).key.id
    found, nobodys, own = await record(
        event(ada, "a", key=key), event(ada, "b", key="key_nobody"), event(eve, "a", key=key)
    )
    assert found.error.message == nobodys.error.message
    assert own.outcome == "recorded"


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
    assert await problems(pool) == []


async def test_different_events_of_one_meter_at_once_add_up_exactly(ada, record, pool, constrain):
    constrain(ada, pages=(100, None, 7, 3), sessions=(2, 3, 5, 1))
    batches = [
        [event(ada, f"{b}-{n}", quantity=b + n) for n in range(10)]
        + [event(ada, f"{b}-v{n}", "sessions", value=f"s{(b + n) % 12}") for n in range(10)]
        for b in range(16)
    ]
    many = [one for answers in await asyncio.gather(*(record(*batch) for batch in batches)) for one in answers]
    used = sum(b + n for b in range(16) for n in range(10))
    pages, sessions = [one for one in many if "-v" not in one.id], [one for one in many if "-v" in one.id]
    assert (sum(increases(pages)), sum(increases(sessions))) == (used, 12)
    assert sum(one.charge for one in pages) == -(-(used - 100) * 7 // 3)
    assert sum(one.charge for one in sessions) == (12 - 2) * 5
    assert sum(one.over_cap for one in sessions) == 12 - 3
    assert await problems(pool) == []


TERMS = st.tuples(st.integers(0, 20), st.none() | st.integers(0, 30), st.integers(0, 10), st.integers(1, 7))
METER = st.sampled_from(["runs", "pages", "seats", "sessions"])
STEP = st.tuples(METER, st.integers(0, 12), st.booleans())


class Model:
    """What events must come to, counted the slow way: everything seen so far, again for each."""

    def __init__(self, terms):
        self.terms = terms
        self.seen = {"runs": [], "pages": [], "seats": [], "sessions": []}

    def total(self, meter):
        seen = self.seen[meter]
        return {"runs": len(seen), "pages": sum(seen), "seats": max(seen, default=0), "sessions": len(set(seen))}[meter]

    def beyond(self, meter):
        allowance, _cap, price, per = self.terms[meter]
        return -(-max(0, self.total(meter) - allowance) * price // per)

    def add(self, meter, number):
        before, owed = self.total(meter), self.beyond(meter)
        self.seen[meter].append(number)
        after, cap = self.total(meter), self.terms[meter][1]
        return after - before, after > before and cap is not None and after > cap, self.beyond(meter) - owed


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(STEP, min_size=1, max_size=12), min_size=1, max_size=4),
    terms=st.fixed_dictionaries({"runs": TERMS, "pages": TERMS, "seats": TERMS, "sessions": TERMS}),
)
async def test_events_come_to_what_a_slow_count_says(pool, record, constrain, batches, terms):
    async with pool.acquire() as connection:
        who = await organization.create(connection, name="Model")
    constrain(who, **terms)
    model, number, sent = Model(terms), 0, []
    for batch in batches:
        given_, expected = [], []
        for meter, value, again in batch:
            if again and sent:
                given_.append(sent[value % len(sent)])
                expected.append(None)
                continue
            number += 1
            counts = {"runs": {}, "sessions": {"value": str(value)}}.get(meter, {"quantity": value})
            given_.append(event(who, f"e{number}", meter, **counts))
            sent.append(given_[-1])
            expected.append(model.add(meter, value))
        answers = await record(*given_)
        for answer, wanted in zip(answers, expected, strict=True):
            if wanted is None:
                assert answer.outcome == "repeated"
            else:
                assert (answer.increase, answer.over_cap, answer.charge) == wanted
    rows = await pool.fetch("select meter, used, held from meter_counter where account = $1", who.account)
    assert {row["meter"]: (row["used"], row["held"]) for row in rows if row["used"]} == {
        meter: (model.total(meter), 0) for meter in model.seen if model.total(meter)
    }
    owed = sum(model.beyond(meter) for meter in model.seen)
    posted = await pool.fetchval(
        "select sum(transfer.amount) from transfer join hold on hold.id = operation where account = $1", who.account
    )
    assert (posted or 0) == owed


async def test_what_the_account_does_not_have_is_receivable(ada, record, pool, constrain):
    constrain(ada, pages=(10, 20, 10**9, 4))
    await grant(pool, ada.account, 2 * 10**9, operation=new_id(), source="operator:tests")
    answers = await record(*(event(ada, f"e{n}", quantity=6) for n in range(4)))
    assert [one.charge for one in answers] == [0, 5 * 10**8, 15 * 10**8, 15 * 10**8]
    assert [one.over_cap for one in answers] == [False, False, False, True]
    async with pool.acquire() as connection:
        assert (await read.balance(connection, ada.account)).posted == 0
    kinds = await pool.fetch("select kind::text, sum(amount)::bigint from transfer group by kind")
    assert {tuple(row) for row in kinds} == {("grant", 2 * 10**9), ("usage", 2 * 10**9), ("shortfall", 15 * 10**8)}
    hold = await pool.fetchrow("select actual, state::text, claims from hold")
    assert (hold["actual"], hold["state"]) == (35 * 10**8, "settled")
    (claim,) = hold["claims"]
    assert (claim["meter"], claim["units"], claim["used"], claim["charge"]) == ("pages", 24, 24, 35 * 10**8)
    assert await problems(pool) == []


async def test_a_late_event_counts_where_its_period_is_still_open_and_else_now(ada, record, constrain, pool):
    document = constrain(ada, pages=(0, None, 1, 1))
    now = datetime.now(UTC)
    turned_at = period_at(document.period, now).starts_at
    told = (turned_at - timedelta(days=2)).isoformat()
    open_ = Lateness(grace=now - turned_at + timedelta(hours=1))
    closed = Lateness(grace=now - turned_at - timedelta(seconds=1))
    (first,) = await record(event(ada, "a", at=told), lateness=open_)
    (second,) = await record(event(ada, "b", at=told), lateness=closed)
    assert (first.late, first.at.isoformat(), first.ends_at) == (False, told, turned_at)
    assert (second.late, second.starts_at) == (True, turned_at)
    assert second.at >= now
    assert await pool.fetchval("select told_at from usage_event where id = 'b'") == turned_at - timedelta(days=2)
    counters = await pool.fetch("select starts_at, used from meter_counter order by starts_at")
    assert [(row["starts_at"], row["used"]) for row in counters] == [(first.starts_at, 1), (turned_at, 1)]
    again = await record(event(ada, "b", at=told), lateness=open_)
    assert (again[0].outcome, again[0].late) == ("repeated", True), "what became of it stays"


async def test_an_event_of_the_future_is_refused(ada, record):
    (answer,) = await record(event(ada, "a", at=(datetime.now(UTC) + timedelta(minutes=10)).isoformat()))
    assert (answer.error.code, answer.error.field) == ("invalid_request", "at")


async def test_each_period_counts_for_itself(ada, record, constrain):
    now = datetime.now(UTC)
    turned_at = period_at(constrain(ada).period, now).starts_at
    before = {"at": (turned_at - timedelta(microseconds=1)).isoformat()}
    answers = await record(
        event(ada, "a", "sessions", value="x"), event(ada, "b", "sessions", value="x", **before),
        event(ada, "c", "seats", quantity=5), event(ada, "d", "seats", quantity=3, **before),
        event(ada, "e", "sessions", value="x"), event(ada, "f", "seats", quantity=4, **before),
        lateness=Lateness(grace=timedelta(days=40)),
    )  # fmt: skip
    assert increases(answers) == [1, 1, 5, 3, 0, 1]


async def test_no_event_costs_more_than_can_be_charged(ada, record, constrain, pool):
    constrain(ada, pages=(0, None, 10**9, 1))
    answers = await record(event(ada, "a", quantity=10**15), event(ada, "b", quantity=8 * 10**6))
    assert outcomes(answers) == ["invalid_request", "recorded"]
    assert answers[1].charge == 8 * 10**15
    assert await problems(pool) == []


@pytest.mark.parametrize("table", ["usage_event", "usage_event_register"])
async def test_history_is_not_changed(ada, record, pool, table):
    await record(event(ada, "a"))
    for change in (f"update {table} set id = 'b'", f"delete from {table}", f"truncate {table}"):
        with pytest.raises(Exception, match=r"append-only|permission denied"):
            await pool.execute(change)


async def test_events_have_partitions_ahead(pool):
    months = await pool.fetchval("select count(*) from pg_inherits where inhparent = 'usage_event'::regclass")
    assert months == await pool.fetchval("select count(*) from pg_inherits where inhparent = 'transfer'::regclass") >= 5
