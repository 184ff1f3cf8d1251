"""The edges of admissions: clocks set back, nothing at all, no end, changed plans, full batches, poison."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.errors import InsufficientCreditsError, QuotaExceeded
from tallystick.base.ids import new_id
from tallystick.ledger.account import open_account
from tallystick.reservations.claim import UNLIMITED, Admitted, AnyClaim, Claim, FeatureClaim
from tallystick.reservations.hold import HoldConflict, HoldEnded, OutcomeUnknown
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer

NOW = datetime.now(UTC)
STARTS_AT, ENDS_AT = NOW - timedelta(days=3), NOW + timedelta(days=27)


def requests(units: int = 1, *, cap: int | None = None, allowance: int = 0, price: int = 0, per: int = 1) -> Claim:
    return Claim(
        meter="requests", units=units, cap=cap, allowance=allowance, price=price, per=per, starts_at=STARTS_AT,
        ends_at=ENDS_AT,
    )  # fmt: skip


def scans(units: int = 1, *, limit: int | None = 3) -> FeatureClaim:
    return FeatureClaim(feature="site_scans", units=units, limit=limit)


async def admit(lanes: Lanes, account: int, *claims: AnyClaim, amount: int = 0, counted: bool = False) -> UUID:
    hold = new_id()
    await lanes.admit(hold, account, amount, claims, expires_in_s=600, counted=counted)
    return hold


async def counters(connection: asyncpg.Connection, account: int) -> dict[str, tuple[int, int]]:
    rows = await connection.fetch("select meter, used, held from meter_counter where account = $1", account)
    return {row["meter"]: (row["used"], row["held"]) for row in rows}


async def traces(connection: asyncpg.Connection, account: int) -> int:
    """Rows that the account has anywhere."""
    return await connection.fetchval(
        "select (select count(*) from meter_counter where account = $1)"
        " + (select count(*) from feature_counter where account = $1)"
        " + (select count(*) from feature_use where account = $1) + (select count(*) from hold where account = $1)",
        account,
    )


async def test_what_the_plan_pays_needs_no_credits_even_below_the_overdraft(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    """A settlement above its hold may bring an account into its overdraft; what its plan includes is still free."""
    account = await customer(connection, 10, floor=-30, overdraft=30)
    hold = new_id()
    await lanes.reserve(hold, account, 10, expires_in_s=60)
    assert (await lanes.settle(hold, account, 25)).available == -15
    await admit(lanes, account, requests(allowance=5), scans())
    await asyncio.gather(*(admit(lanes, account, requests(allowance=5)) for _ in range(4)))
    with pytest.raises(InsufficientCreditsError):
        await admit(lanes, account, requests(allowance=5, price=1))
    assert await counters(connection, account) == {"requests": (0, 5)}


async def test_uses_stay_in_order_when_the_clock_is_set_back(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await open_account(connection)
    first = await admit(lanes, account, scans(), counted=True)
    ahead = timedelta(hours=5)
    await connection.execute("update feature_use set at = at + $1::interval", ahead)
    await connection.execute("update feature_counter set last_at = last_at + $1::interval", ahead)
    second = await admit(lanes, account, scans())
    rows = await connection.fetch("select hold, at, cumulative from feature_use order by at, cumulative")
    assert [(row["hold"], row["cumulative"]) for row in rows] == [(first, 1), (second, 2)]
    assert rows[0]["at"] == rows[1]["at"]
    await admit(lanes, account, scans())
    with pytest.raises(QuotaExceeded) as refused:
        await admit(lanes, account, scans())
    assert refused.value.retry_at == rows[0]["at"] + timedelta(days=30)
    await lanes.release(second, account)
    await admit(lanes, account, scans())
    assert await broken_laws(connection) == {}


async def test_the_window_is_open_at_its_end(connection: asyncpg.Connection, lanes: Lanes) -> None:
    """A use counts until exactly 30 days later: a microsecond before it does, at that moment it does not."""
    account = await open_account(connection)
    await admit(lanes, account, scans(3), counted=True)
    at = await connection.fetchval("select at from feature_use")
    used = "select feature_used($1, 'site_scans', $2)"
    assert await connection.fetchval(used, account, at + timedelta(days=30, microseconds=-1)) == 3
    assert await connection.fetchval(used, account, at + timedelta(days=30)) == 0


async def test_claims_of_nothing(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 10)
    hold = await admit(lanes, account, requests(0, cap=0, price=3))
    assert (await lanes.settle_claims(hold, account, 0, (2,))).charge == 6
    with pytest.raises(QuotaExceeded):
        await admit(lanes, account, requests(0, cap=1))
    with pytest.raises(QuotaExceeded):
        await admit(lanes, account, scans(limit=0))
    assert await counters(connection, account) == {"requests": (2, 0)}
    assert await broken_laws(connection) == {}


async def test_a_cap_or_limit_of_nothing_leaves_no_trace(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await open_account(connection)
    for claims in ((requests(cap=0),), (scans(limit=0),), (scans(), requests(cap=0)), (requests(), scans(4))):
        with pytest.raises(QuotaExceeded) as refused:
            await admit(lanes, account, *claims)
        assert (refused.value.used, refused.value.retry_at) == (0, None)
    assert await traces(connection, account) == 0


async def test_without_any_end(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await open_account(connection)
    for cap in (None, UNLIMITED):
        for _ in range(3):
            hold = await admit(
                lanes, account, requests(10**15, cap=cap, allowance=UNLIMITED, price=9 * 10**15, per=10**15),
                scans(10**15, limit=None),
            )  # fmt: skip
            assert (await lanes.settle_claims(hold, account, 0, (10**15, 0))).charge == 0
    assert await counters(connection, account) == {"requests": (6 * 10**15, 0)}
    assert await broken_laws(connection) == {}


async def test_a_plan_that_changes_while_requests_run(connection: asyncpg.Connection, lanes: Lanes) -> None:
    """One counter, and each request pays by the price that it was admitted at."""
    account = await customer(connection, 1000)
    held = "select held from ledger_account where id = $1"
    old = await admit(lanes, account, requests(10, allowance=5, price=3))
    assert await connection.fetchval(held, account) == 15
    new = await admit(lanes, account, requests(10, allowance=12, price=2, per=4, cap=20))
    assert await connection.fetchval(held, account) == 15 + 4
    with pytest.raises(QuotaExceeded):
        await admit(lanes, account, requests(1, allowance=12, price=2, per=4, cap=20))
    assert (await lanes.settle_claims(new, account, 0, (10,))).charge == 0
    assert await connection.fetchval(held, account) == 15
    # From 10 to 20, of which all is beyond its allowance of 5.
    assert (await lanes.settle_claims(old, account, 0, (10,))).charge == 30
    assert await connection.fetchval(held, account) == 0
    last = await admit(lanes, account, requests(4, allowance=12, price=2, per=4))
    assert (await lanes.settle_claims(last, account, 0, (4,))).charge == 2
    assert await counters(connection, account) == {"requests": (24, 0)}
    assert await broken_laws(connection) == {}


async def test_a_plan_that_prices_nothing_frees_no_work_that_was_admitted(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account = await customer(connection, 4000)
    work = await admit(lanes, account, requests(400, price=10))
    free = await admit(lanes, account, requests(1))
    assert (await lanes.settle_claims(work, account, 0, (400,))).charge == 4000
    assert (await lanes.settle_claims(free, account, 0, (1,))).charge == 0
    assert await broken_laws(connection) == {}


async def test_a_dearer_plan_asks_nothing_more_for_work_that_was_admitted(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account = await customer(connection, 250)
    work = await admit(lanes, account, requests(20, price=10))
    dear = await lanes.admit(new_id(), account, 0, (requests(1, price=50),), expires_in_s=600)
    assert dear.amount == 50
    assert (await lanes.settle_claims(work, account, 0, (20,))).charge == 200
    assert await broken_laws(connection) == {}


@pytest.mark.parametrize("many", [1, 256])
async def test_a_full_batch(connection: asyncpg.Connection, lanes: Lanes, many: int) -> None:
    """512 at once, of one account or of many, to the very edge: as many as fit, and all that they took comes back."""
    accounts = [await open_account(connection) for _ in range(many)]
    each = 512 // many
    mine = [account for account in accounts for _ in range(each)]
    claims = (requests(2, cap=each + 1, allowance=UNLIMITED), scans(limit=each))
    answers = await asyncio.gather(*(admit(lanes, one, *claims) for one in mine), return_exceptions=True)
    held = [(hold, one) for hold, one in zip(answers, mine, strict=True) if isinstance(hold, UUID)]
    assert len(held) == (each + 1) // 2 * many
    assert all(isinstance(answer, UUID | QuotaExceeded) for answer in answers)
    assert await broken_laws(connection) == {}
    await asyncio.gather(*(lanes.release(hold, one) for hold, one in held))
    assert await connection.fetchval("select coalesce(sum(used + held), 0) from meter_counter") == 0
    assert await connection.fetchval("select count(*) from feature_use") == 0
    assert await broken_laws(connection) == {}


async def test_all_that_come_to_nothing_at_once(connection: asyncpg.Connection, lanes: Lanes) -> None:
    """A provider is away: of one customer's 512 uses most are given back in one batch, from between those that stay."""
    account = await open_account(connection)
    holds = await asyncio.gather(*(admit(lanes, account, scans(1 + n % 3, limit=None)) for n in range(512)))
    stay = set(range(0, 512, 7))
    await asyncio.gather(*(lanes.release(hold, account) for n, hold in enumerate(holds) if n not in stay))
    rows = await connection.fetch("select units, cumulative from feature_use order by at, cumulative")
    left = [1 + n % 3 for n in sorted(stay)]
    assert [row["units"] for row in rows] == left
    assert [row["cumulative"] for row in rows] == [sum(left[: n + 1]) for n in range(len(left))]
    assert await connection.fetchval("select total from feature_counter") == sum(left)
    assert await broken_laws(connection) == {}


@pytest.mark.parametrize(
    "claim",
    [
        FeatureClaim(feature="nul \0", units=1, limit=None),
        FeatureClaim(feature="surrogate \ud800", units=1, limit=None),
        FeatureClaim(feature="long " + "".join(f"{n:06}" for n in range(5000)), units=1, limit=None),
        Claim(meter="requests", units=1, starts_at="yesterday", ends_at="zomorrow"),
    ],
)
async def test_poison_in_a_batch_fails_alone(connection: asyncpg.Connection, lanes: Lanes, claim: AnyClaim) -> None:
    account = await customer(connection, 100)
    ended = await admit(lanes, account, requests(3), scans(limit=99))
    answers = await asyncio.gather(
        *(admit(lanes, account, requests(1, cap=20), scans(limit=99), amount=1) for _ in range(10)),
        admit(lanes, account, claim, amount=1),
        lanes.settle_claims(ended, account, 5, (4, 1)),
        *(lanes.reserve(new_id(), account, 1, expires_in_s=60) for _ in range(5)),
        *(admit(lanes, account, requests(1, cap=20), scans(limit=99), amount=1) for _ in range(6)),
        return_exceptions=True,
    )
    wrong = [place for place, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert wrong == [10]
    assert await counters(connection, account) == {"requests": (4, 16)}
    assert await connection.fetchval("select held from ledger_account where id = $1", account) == 21
    assert await broken_laws(connection) == {}


@pytest.mark.parametrize("units", [(1,), (1, 2, 3)])
async def test_units_for_other_claims_than_the_hold_has(
    connection: asyncpg.Connection, lanes: Lanes, units: tuple[int, ...]
) -> None:
    """The units of the next hold of the batch, someone else's, are never taken for its own."""
    account, other = await customer(connection, 100), await customer(connection, 100)
    while other % 2 != account % 2:
        other = await customer(connection, 100)
    tokens = Claim(meter="input_tokens", units=9, starts_at=STARTS_AT, ends_at=ENDS_AT)
    mine, theirs = await admit(lanes, account, requests(3), tokens), await admit(lanes, other, requests(8), tokens)
    answers = await asyncio.gather(
        lanes.settle_claims(mine, account, 0, units), lanes.settle_claims(theirs, other, 0, (7, 8)),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(answers[0], Exception)
    assert not isinstance(answers[1], BaseException)
    assert await counters(connection, account) == {"requests": (0, 3), "input_tokens": (0, 9)}
    assert await counters(connection, other) == {"requests": (7, 0), "input_tokens": (8, 0)}
    await lanes.settle_claims(mine, account, 0, (1, 2))
    assert await broken_laws(connection) == {}


async def test_absurd_usage_still_ends_its_hold(connection: asyncpg.Connection, lanes: Lanes) -> None:
    """What no account could pay: down to the floor, and the rest stands as receivable."""
    account = await customer(connection, 100)
    hold = await admit(lanes, account, requests(1, price=50))
    settled = await lanes.settle_claims(hold, account, 0, (10**15,))
    assert (settled.posted, settled.held) == (0, 0)
    assert await counters(connection, account) == {"requests": (10**15, 0)}
    assert await broken_laws(connection) == {}


async def test_who_does_not_know_of_claims_is_answered_the_same_again(
    connection: asyncpg.Connection, lanes: Lanes
) -> None:
    account = await customer(connection, 100)
    hold = await admit(lanes, account, requests(5, price=2), amount=3)
    first = await lanes.settle(hold, account, 3)
    assert await lanes.settle(hold, account, 3) == first
    assert (await lanes.settle_claims(hold, account, 3, (5,))).charge == 13
    for actual in (2, 13):
        with pytest.raises(HoldConflict):
            await lanes.settle(hold, account, actual)
    with pytest.raises(HoldEnded):
        await lanes.release(hold, account)


async def test_a_hold_that_was_never_open_is_not_released(connection: asyncpg.Connection, lanes: Lanes) -> None:
    """An event of usage is settled as it is recorded; the deduction of a moment is too."""
    account, event, deduction = await customer(connection, 100), new_id(), new_id()
    await lanes.deduct(deduction, account, 5)
    await connection.execute(
        "insert into hold (id, account, amount, actual, state, created_at, expires_at, claims)"
        " values ($1, $2, 0, 0, 'settled', now(), now(), array[('requests', $3, 1, 1, 5, 0, 1, 0)::claim])",
        event,
        account,
        STARTS_AT,
    )
    for hold in (event, deduction):
        with pytest.raises(HoldEnded):
            await lanes.release(hold, account)


async def end_lane_sessions(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name like 'tallystick lane%'"
    )


async def test_of_unanswered_admissions_only_the_dispatchers_are_taken_back(
    connection: asyncpg.Connection, dsn: str
) -> None:
    """What only its dispatcher can end must go, for its caller was told that nobody knows. A use that counts stays: it
    may have been acknowledged long before, and whoever asks with its id again must find it."""
    account = await customer(connection, 100)
    lanes, other = Lanes(dsn, patience_s=0.3), Lanes(dsn)
    await lanes.start()
    await other.start()
    call, use, dispatcher = new_id(), new_id(), new_id()

    async def ask(by: Lanes) -> tuple[object, object]:
        return await asyncio.gather(
            by.admit(call, account, 0, (scans(), requests(2, price=5)), expires_in_s=60, dispatcher=dispatcher),
            by.admit(use, account, 0, (scans(),), expires_in_s=60, counted=True),
            return_exceptions=True,
        )

    assert [type(answer) for answer in await ask(other)] == [Admitted, Admitted]
    blocker = await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(31249, lane) from generate_series(0, 63) as lane")
        assert [type(answer) for answer in await ask(lanes)] == [OutcomeUnknown, OutcomeUnknown]
    while await connection.fetchval("select count(*) from hold where state = 'open'"):
        await asyncio.sleep(0.02)
    await lanes.stop()
    await other.stop()
    await blocker.close()
    assert await connection.fetchval("select state from hold where id = $1", use) == "settled"
    assert await connection.fetchval("select sum(units) from feature_use") == 1
    assert await connection.fetchval("select held from ledger_account where id = $1", account) == 0
    assert await broken_laws(connection) == {}


async def test_a_lost_connection_counts_nothing_twice(connection: asyncpg.Connection, lanes: Lanes) -> None:
    account = await customer(connection, 10**9)
    settled: list[int] = []
    stopping = asyncio.Event()

    async def caller() -> None:
        while not stopping.is_set():
            hold = await admit(lanes, account, requests(3, allowance=100, price=1, per=2), scans(limit=None))
            settled.append((await lanes.settle_claims(hold, account, 0, (2, 1))).charge)

    callers = [asyncio.create_task(caller()) for _ in range(20)]
    for _ in range(6):
        before = len(settled)
        await end_lane_sessions(connection)
        while len(settled) < before + 30:
            await asyncio.sleep(0.01)
    stopping.set()
    await asyncio.gather(*callers)
    assert await counters(connection, account) == {"requests": (2 * len(settled), 0)}
    assert await connection.fetchval("select total from feature_counter") == len(settled)
    assert sum(settled) == -(-(2 * len(settled) - 100) // 2)
    assert await broken_laws(connection) == {}
