import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.accounts import api_key
from tallystick.base.errors import InvalidInput, QuotaExceeded
from tallystick.base.ids import new_id
from tallystick.base.money import parse_amount
from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import Period, period_at
from tallystick.metering.report import Line, RangeTooLarge, Report, queries, usage_report
from tallystick.metering.shown import as_csv, as_json
from tallystick.payments.orders.grant import grant
from tallystick.reservations.claim import Claim
from tallystick.reservations.usage_record import UsageRecord

RULE = PeriodRule(anchor=datetime(2026, 1, 1, tzinfo=UTC), interval="month")


@pytest.fixture
def report(pool):
    async def read(who, **asked):
        async with pool.acquire() as connection:
            return await usage_report(connection, who.account, RULE, **asked)

    return read


@pytest.fixture
def request_(pool, lanes):
    """A request through the gateway, as its ledger sees it."""

    async def run(who, *, tokens=(10, 5), charge=0, key=None, model="fast", claims=None, released=False):
        hold = new_id()
        record = UsageRecord(
            id=hold, account=who.account, api_key=key, endpoint="chat.completions", alias=model, provider="openai",
            model="gpt", stream=False, input_tokens=tokens[0], output_tokens=tokens[1], usage_source="provider", cost=0,
            charge=charge, reserved=charge, outcome="completed", rule="completed", status=200, attempts=1, latency_ms=1,
        )  # fmt: skip
        if claims is None:
            await lanes.reserve(hold, who.account, charge, expires_in_s=60)
        else:
            await lanes.admit(hold, who.account, charge, [claim for claim, _used in claims], expires_in_s=60)
        if released:
            await lanes.release(hold, who.account, record)
        elif claims is None:
            await lanes.settle(hold, who.account, charge, record)
        else:
            await lanes.settle_claims(hold, who.account, charge, [used for _claim, used in claims], record)

    return run


def claim(meter, units, allowance=0, price=0, per=1, cap=None):
    period = period_at(RULE, datetime.now(UTC))
    return Claim(
        meter=meter, units=units, starts_at=period.starts_at, ends_at=period.ends_at, allowance=allowance, cap=cap,
        price=price, per=per,
    )  # fmt: skip


def event(who, name, meter="pages", **fields):
    return {"id": name, "organization": who.id, "meter": meter, **fields}


def units(report):
    return {(line.group, line.meter): (line.units, line.charge) for line in report.lines}


async def test_the_gateways_usage_and_events_stand_in_one_report(ada, eve, pool, record, report, request_, constrain):
    await grant(pool, ada.account, parse_amount("5"), operation=new_id(), source="operator:tests")
    constrain(ada, pages=(10, None, 1000, 1))
    async with pool.acquire() as connection:
        key = (await api_key.create(connection, organization=ada.id, name="laptop")).key.id
    await request_(ada, charge=700, key=key)
    await request_(ada, tokens=(3, 4), charge=11, model="slow")
    await request_(eve, tokens=(1000, 1000))
    await record(
        event(ada, "a", quantity=12, key=key),
        event(ada, "b", quantity=1, model="slow"),
        event(ada, "c", "sessions", session="s-1"),
        event(eve, "a", quantity=500),
    )
    pages, sessions = {"pages": (13, 3000)}, {"sessions": (1, 0)}
    gateway = {"requests": (2, 0), "input_tokens": (13, 0), "output_tokens": (9, 0), "llm_inferences": (22, 0)}
    assert units(await report(ada)) == {
        (None, meter): sums for meter, sums in {**gateway, "dollars": (711, 711), **pages, **sessions}.items()
    }
    assert (await report(ada)).charge == 3711
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    by_day = await report(ada, group_by="day")
    assert {line.group for line in by_day.lines} == {today}
    assert units(await report(ada, group_by="key", meter="pages")) == {
        (None, "pages"): (1, 1000),
        (key, "pages"): (12, 2000),
    }
    by_model = units(await report(ada, group_by="model"))
    assert by_model["slow", "pages"] == (1, 1000)
    assert by_model["slow", "requests"] == (1, 0)
    assert by_model["fast", "dollars"] == (700, 700)
    assert by_model[None, "sessions"] == (1, 0)


@pytest.mark.parametrize("group_by", ["meter", "day", "key", "model"])
async def test_the_parts_add_up_to_the_whole_however_it_is_divided(ada, record, report, request_, constrain, group_by):
    now = datetime.now(UTC)
    constrain(ada, pages=(3, None, 7, 3), seats=(1, None, 5, 1))
    for n in range(6):
        at = (now - timedelta(hours=9 * n)).isoformat()
        await record(
            event(ada, f"p{n}", quantity=n, at=at, model=f"m{n % 2}"),
            event(ada, f"s{n}", "seats", quantity=n * n % 7, at=at, model=f"m{n % 3}"),
            event(ada, f"v{n}", "sessions", value=f"v{n % 4}", at=at, model=f"m{n % 3}"),
            event(ada, f"r{n}", "runs", at=at),
        )
        await request_(ada, tokens=(n, 2 * n), model=f"m{n % 2}")
    asked = {"from_": (now - timedelta(days=40)).strftime("%Y-%m-%d"), "to": (now + timedelta(days=1)).isoformat()}
    whole, divided = await report(ada, **asked), await report(ada, **asked, group_by=group_by)
    sums = {}
    for line in divided.lines:
        had = sums.setdefault(line.meter, [0, 0])
        sums[line.meter] = [had[0] + line.units, had[1] + line.charge]
    assert sums == {line.meter: [line.units, line.charge] for line in whole.lines}
    assert divided.charge == whole.charge
    assert sums["pages"][0] == 15
    assert sums["runs"][0] == 6


async def test_what_a_plan_counts_is_what_the_report_counts(ada, pool, report, request_):
    await grant(pool, ada.account, parse_amount("5"), operation=new_id(), source="operator:tests")
    each = ("requests", 1, 2, 100), ("dollars", 900, 1000, 1)
    for n in range(4):
        claims = [(claim(meter, most, allowance, price), most) for meter, most, allowance, price in each]
        await request_(ada, claims=claims, released=n == 1)
    counters = await pool.fetch("select meter, used from meter_counter where account = $1 order by meter", ada.account)
    found = units(await report(ada))
    assert {meter: found[None, meter][0] for meter in ("dollars", "requests")} == {
        row["meter"]: row["used"] for row in counters
    }
    assert found[None, "requests"] == (3, 100)
    assert found[None, "dollars"] == (2700, 1700)
    async with pool.acquire() as connection:
        posted = await connection.fetchval("select posted from ledger_account where id = $1", ada.account)
    assert (await report(ada)).charge == parse_amount("5") - posted == 1800


async def test_the_gateways_requests_and_events_share_one_counter(ada, pool, record, report, request_, constrain):
    await grant(pool, ada.account, parse_amount("5"), operation=new_id(), source="operator:tests")
    constrain(ada, pages=(10, 30, 7, 3))
    await request_(ada, claims=[(claim("pages", 8, 10, 7, 3, 30), 7)])
    (answer,) = await record(event(ada, "a", quantity=5))
    assert answer.charge == 5, "2 beyond 10: ceil(2 * 7 / 3)"
    await request_(ada, claims=[(claim("pages", 8, 10, 7, 3, 30), 8)])
    (beyond,) = await record(event(ada, "b", quantity=11))
    assert beyond.over_cap
    with pytest.raises(QuotaExceeded) as refused:
        await request_(ada, claims=[(claim("pages", 1, 10, 7, 3, 30), 1)])
    assert (refused.value.limit, refused.value.used) == (30, 31)
    total = units(await report(ada))[None, "pages"]
    assert total == (31, -(-21 * 7 // 3))


async def test_a_range_begins_with_its_first_moment_and_ends_before_its_last(ada, record, report):
    now = datetime.now(UTC)
    at = now - timedelta(minutes=5)
    await record(event(ada, "a", quantity=1, at=at.isoformat()))
    for from_, to, found in ((at, now, 1), (at - timedelta(seconds=1), at, 0)):
        seen = await report(ada, from_=from_.isoformat(), to=to.isoformat())
        assert sum(line.units for line in seen.lines) == found


async def test_more_than_a_report_reads_is_refused_and_never_a_part_of_a_sum(ada, record, report, request_):
    await record(*(event(ada, str(n), quantity=1) for n in range(3)))
    assert (await report(ada, rows_max=3)).lines[0].units == 3
    with pytest.raises(RangeTooLarge):
        await report(ada, rows_max=2)
    assert (await report(ada, rows_max=2, meter="runs")).lines == []
    for _ in range(4):
        await request_(ada)
    with pytest.raises(RangeTooLarge):
        await report(ada, rows_max=3)


@pytest.mark.parametrize("asked", [{"group_by": "provider"}, {"from_": "x"}, {"to": "x"}])
async def test_what_cannot_be_asked_is_refused(ada, report, asked):
    with pytest.raises(InvalidInput):
        await report(ada, **asked)


async def test_a_report_reads_its_indexes_and_no_table(ada, eve, record, request_, pool):
    for who in (ada, eve):
        for step in range(4):
            await record(*(event(who, f"{step}-{n}", quantity=1) for n in range(1000)))
        for _ in range(200):
            await request_(who)
    await pool.execute("vacuum analyze usage_event")
    await pool.execute("vacuum analyze usage_record")
    now = datetime.now(UTC)
    asked = ("day", ada.account, now - timedelta(days=1), now + timedelta(days=1))
    events = await pool.fetch(f"explain (analyze) {queries.event_usage.sql}", *asked, None, 1000)
    gateway = await pool.fetch(f"explain (analyze) {queries.gateway_usage.sql}", *asked, 1000)
    for plan, wanted in ((events, "Index Only Scan"), (gateway, "usage_record_")):
        text = "\n".join(row[0] for row in plan)
        assert wanted in text
        assert "Seq Scan on usage_event_2" not in text
        assert "Seq Scan on usage_record_2" not in text


PRINTABLE = st.text(st.characters(blacklist_categories=("C", "Z")), max_size=8)


@settings(deadline=None)
@given(name=st.sampled_from(["=", "+", "-", "@", "\uff1d", " =", "", "'"]).flatmap(lambda s: PRINTABLE.map(s.__add__)))
def test_no_cell_of_the_csv_is_a_formula(name):
    span = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    line = Line(group=name, meter=name, units=3, charge=12)
    heading, cells = csv.reader(io.StringIO(as_csv(Report(span=span, group_by="model", lines=[line]))))
    assert heading == ["model", "meter", "units", "charge"]
    assert cells[2:] == ["3", "0.000000012"]
    for cell in cells[:2]:
        assert cell.removeprefix("'") == name.removeprefix("'")
        assert not cell.strip().startswith(("=", "+", "-", "@", "\uff1d"))


def test_money_is_text_and_units_are_whole_numbers():
    span = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    lines = [
        Line(group=None, meter="pages", units=10**15, charge=1),
        Line(group="fast", meter="pages", units=0, charge=9),
    ]
    shown = as_json(Report(span=span, group_by="model", lines=lines))
    assert shown["usage"] == [
        {"model": None, "meter": "pages", "units": 10**15, "charge": "0.000000001"},
        {"model": "fast", "meter": "pages", "units": 0, "charge": "0.000000009"},
    ]
    assert shown["charge"] == "0.00000001"
