"""Many clients at the edge of a limit, through several writers at once: none over, none lost, window after window."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.errors import InsufficientCreditsError, QuotaExceeded
from tallystick.base.ids import new_id
from tallystick.ledger.account import open_account
from tallystick.reservations.claim import AnyClaim, Claim, FeatureClaim
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer

CLIENTS = 64
NOW = datetime.now(UTC)


@pytest.fixture
async def writers(dsn: str) -> AsyncIterator[list[Lanes]]:
    """As so many processes have them."""
    opened = [Lanes(dsn) for _ in range(3)]
    for lanes in opened:
        await lanes.start()
    yield opened
    for lanes in opened:
        await lanes.stop()


def tokens(units: int, *, cap: int | None = None, allowance: int = 0, price: int = 0, per: int = 1) -> Claim:
    return Claim(
        meter="input_tokens", units=units, cap=cap, allowance=allowance, price=price, per=per,
        starts_at=NOW - timedelta(days=3), ends_at=NOW + timedelta(days=27),
    )  # fmt: skip


async def race(
    writers: list[Lanes],
    account: int,
    *claims: AnyClaim,
    amount: int = 0,
    counted: bool = False,
    clients: int = CLIENTS,
) -> tuple[list[UUID], int]:
    """All clients at once; returns who was admitted and how many were refused."""
    ids = [new_id() for _ in range(clients)]
    answers = await asyncio.gather(
        *(
            writers[place % len(writers)].admit(hold, account, amount, claims, expires_in_s=600, counted=counted)
            for place, hold in enumerate(ids)
        ),
        return_exceptions=True,
    )
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, QuotaExceeded | InsufficientCreditsError):
            raise answer
    admitted = [hold for hold, answer in zip(ids, answers, strict=True) if not isinstance(answer, BaseException)]
    return admitted, clients - len(admitted)


async def test_a_thousand_windows(connection: asyncpg.Connection, writers: list[Lanes]) -> None:
    """20 accounts, each through 50 windows: whatever 64 clients do, each window ends with exactly its limit."""
    limit, windows = 7, 50
    accounts = [await open_account(connection) for _ in range(20)]
    feature = FeatureClaim(feature="site_scans", units=1, limit=limit)
    for window in range(windows):
        answers = await asyncio.gather(*(race(writers, account, feature, counted=True) for account in accounts))
        assert [(len(admitted), refused) for admitted, refused in answers] == [(limit, CLIENTS - limit)] * len(accounts)
        # Some are given back and their places taken again, by as many as there is room for.
        back = window % 4
        await asyncio.gather(
            *(
                writers[place % len(writers)].release(hold, account)
                for account, (admitted, _) in zip(accounts, answers, strict=True)
                for place, hold in enumerate(admitted[1 : 1 + back])
            )
        )
        again = await asyncio.gather(
            *(race(writers, account, feature, counted=True, clients=8) for account in accounts)
        )
        assert [len(admitted) for admitted, _ in again] == [back] * len(accounts)
        # Exactly as long as a window, so that what was at its very end has just left it.
        await connection.execute("update feature_use set at = at - interval '720 hours'")
        await connection.execute("update feature_counter set last_at = last_at - interval '720 hours'")
        await connection.execute(
            "update hold set created_at = created_at - interval '720 hours',"
            " expires_at = expires_at - interval '720 hours'"
        )
    rows = await connection.fetch("select account, sum(units)::int, count(*)::int from feature_use group by account")
    assert {tuple(row) for row in rows} == {(account, limit * windows, limit * windows) for account in accounts}
    assert await connection.fetchval("select array_agg(distinct total) from feature_counter") == [limit * windows]
    assert await broken_laws(connection) == {}


async def test_no_window_at_any_moment_holds_more_than_its_limit(
    connection: asyncpg.Connection, writers: list[Lanes]
) -> None:
    """Time passes in small steps, so that uses leave one by one: the sum of any 30 days stays within the limit."""
    account, limit = await open_account(connection), 20
    for step in range(60):
        claim = FeatureClaim(feature="site_scans", units=1 + step % 3, limit=limit)
        admitted, _ = await race(writers, account, claim, clients=1 + step % 9)
        for hold in admitted[step % 2 :: 3]:
            await writers[0].release(hold, account)
        by = timedelta(hours=17 + 29 * (step % 4))
        await connection.execute("update feature_use set at = at - $1::interval", by)
        await connection.execute("update feature_counter set last_at = last_at - $1::interval", by)
        await connection.execute("update hold set created_at = created_at - $1::interval", by)
    most = await connection.fetchval(
        "select max(used) from (select sum(units) over ("
        " order by at range between interval '720 hours' - interval '1 us' preceding and current row) as used"
        " from feature_use) as window_"
    )
    assert limit - 3 <= most <= limit
    assert await broken_laws(connection) == {}


async def test_the_edge_of_a_cap(connection: asyncpg.Connection, writers: list[Lanes]) -> None:
    """What settles below its claim makes room for others, at once and never for more."""
    account, cap = await open_account(connection), 1000
    used = 0
    for _ in range(8):
        admitted, _ = await race(writers, account, tokens(30, cap=cap, allowance=cap))
        assert len(admitted) == (cap - used) // 30
        settled = [3 + place % 7 for place in range(len(admitted))]
        await asyncio.gather(
            *(
                writers[place % 3].settle_claims(hold, account, 0, (units,))
                for place, (hold, units) in enumerate(zip(admitted, settled, strict=True))
            )
        )
        used += sum(settled)
        row = await connection.fetchrow("select used, held from meter_counter where account = $1", account)
        assert tuple(row) == (used, 0)
    assert await broken_laws(connection) == {}


async def test_credits_with_claims_in_any_order_of_ends(connection: asyncpg.Connection, writers: list[Lanes]) -> None:
    """Credits for exactly so many units beyond the allowance; whichever holds end first, nobody is left short."""
    account = await customer(connection, 300)
    admitted, refused = await race(writers, account, tokens(10, allowance=200, price=1))
    assert (len(admitted), refused) == (50, 14)
    charges = []
    # The last first: what they hold lies beyond the allowance, what they are charged for does not.
    for at_once in (admitted[:20:-1], admitted[:21]):
        settled = await asyncio.gather(
            *(writers[n % 3].settle_claims(hold, account, 0, ()) for n, hold in enumerate(at_once))
        )
        charges += [answer.charge for answer in settled]
        with pytest.raises(InsufficientCreditsError):
            await writers[0].reserve(new_id(), account, 1, expires_in_s=60)
    assert sum(charges) == 300
    assert await connection.fetchval("select count(*) from transfer where kind = 'shortfall'") == 0
    assert await connection.fetchval("select posted - held from ledger_account where id = $1", account) == 0
    assert await broken_laws(connection) == {}


async def test_everything_at_once(connection: asyncpg.Connection, writers: list[Lanes]) -> None:
    """Admissions of all kinds, their ends and plain operations, of three writers on the same four accounts."""
    accounts = [await customer(connection, 5000) for _ in range(4)]
    limit, cap = 40, 3000

    async def client(number: int) -> None:
        lanes, account = writers[number % 3], accounts[number % 4]
        for turn in range(12):
            hold = new_id()
            claims: tuple[AnyClaim, ...] = (tokens(9 + turn, cap=cap, allowance=800, price=3, per=2),)
            if (number + turn) % 3 == 0:
                claims = (FeatureClaim(feature="site_scans", units=1, limit=limit), *claims)
            try:
                await lanes.admit(hold, account, turn, claims, expires_in_s=600)
            except (QuotaExceeded, InsufficientCreditsError):
                continue
            again = await writers[(number + 1) % 3].admit(hold, account, turn, claims, expires_in_s=600)
            assert again.repeated
            if turn % 4 == 0:
                await lanes.release(hold, account)
            else:
                units = tuple(turn + 5 * (turn % 3) for _ in claims)
                first = await lanes.settle_claims(hold, account, turn, units)
                second = await writers[(number + 2) % 3].settle_claims(hold, account, turn, units)
                assert (first.charge, first.overage) == (second.charge, second.overage)
            if turn % 5 == 0:
                plain = new_id()
                try:
                    await lanes.reserve(plain, account, 2, expires_in_s=60)
                except InsufficientCreditsError:
                    continue
                await lanes.settle(plain, account, 2)

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    rows = await connection.fetch("select used, held, pending from meter_counter")
    assert all(row["used"] > 800 and (row["held"], row["pending"]) == (0, 0) for row in rows)
    assert await connection.fetchval("select max(total) from feature_counter") <= limit
    assert await broken_laws(connection) == {}
