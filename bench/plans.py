"""What plans cost: claims over a plain reserve, quota checks a second, a change until it is enforced."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
from msgspec.structs import replace

from bench.books import reconcile
from bench.effort import Effort, middle, say
from bench.embedded import add_database, embedded_postgres
from bench.ledger import CHARGED, FUNDS, RESERVED, open_accounts, settle_down
from bench.processes import Tree
from bench.report import Figure, Row, WrongBooks, at_most
from tallystick.accounts import organization
from tallystick.base.changes import Changes
from tallystick.base.ids import new_id
from tallystick.reservations.claim import Claim, FeatureClaim
from tallystick.reservations.lanes import Lanes
from tallystick.subscriptions.live import LiveConstraints
from tallystick.subscriptions.override import override

_ACCOUNTS: Final = 10_000
_IN_FLIGHT: Final = 256
_HOT_EVENTS: Final = 100_000
_GATEWAYS: Final = 8
_CHANGES: Final = 40
_NO_END: Final = 10**12

Operation = Callable[[Lanes, int], Awaitable[object]]


async def run(effort: Effort) -> list[Figure]:
    """The figures of plans; the books are reconciled at the end."""
    async with embedded_postgres() as (dsn, postgres):
        figures = await _waterfall(await add_database(dsn, "waterfall"), postgres, effort)
        figures += await _quotas(await add_database(dsn, "quotas"), effort)
        figures += await _changes(await add_database(dsn, "changes"))
    return figures


async def _waterfall(dsn: str, postgres: Tree, effort: Effort) -> list[Figure]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        say(f"Opening {_ACCOUNTS:,} accounts")
        accounts = await open_accounts(pool, _ACCOUNTS)
        kinds: dict[str, Operation] = {"plain": _plain, "requests": _included, "overage": _overage}
        speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
        for number in range(effort.rounds):
            for name, operation in kinds.items():
                await settle_down(pool)
                await pool.execute("vacuum (analyze) meter_counter")
                before = postgres.cpu_s()
                per_s = await _press(dsn, operation, accounts, effort.seconds)
                cpu_us = (postgres.cpu_s() - before) / (per_s * effort.seconds) * 1e6
                speeds[name].append((per_s, cpu_us))
            told = ", ".join(f"{name} {found[-1][0]:,.0f}/s" for name, found in speeds.items())
            say(f"Round {number + 1} of {effort.rounds}: {told}")
    await reconcile(dsn, granted=_ACCOUNTS * FUNDS)
    return [
        Row(
            f"reserve + settle with {what} over a plain one, {_ACCOUNTS:,} accounts, {_IN_FLIGHT} in flight",
            middle(plain[0] / claimed[0] for plain, claimed in zip(speeds["plain"], speeds[name], strict=True)),
            "x",
            f"{middle(one[0] for one in speeds[name]):,.0f}/s over {middle(one[0] for one in speeds['plain']):,.0f}/s;"
            f" PostgreSQL {middle(one[1] for one in speeds[name]):.1f} us"
            f" over {middle(one[1] for one in speeds['plain']):.1f} us",
            at_most(1.6),
        )
        for name, what in (
            ("requests", "an allowance of requests"),
            ("overage", "requests beyond an allowance, paid from credits"),
        )
    ]


async def _plain(lanes: Lanes, account: int) -> None:
    hold = new_id()
    await lanes.reserve(hold, account, RESERVED, expires_in_s=600)
    await lanes.settle(hold, account, CHARGED)


async def _included(lanes: Lanes, account: int) -> None:
    hold = new_id()
    await lanes.admit(hold, account, 0, (_requests(_NO_END, 0),), expires_in_s=600)
    await lanes.settle_claims(hold, account, 0, (1,))


async def _overage(lanes: Lanes, account: int) -> None:
    hold = new_id()
    await lanes.admit(hold, account, 0, (_requests(0, CHARGED),), expires_in_s=600)
    await lanes.settle_claims(hold, account, 0, (1,))


_PERIOD: Final = (datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=30))


def _requests(allowance: int, price: int) -> Claim:
    # Another meter for another price: a period with one price is what verify recomputes.
    meter = "included_requests" if allowance else "requests"
    return Claim(meter=meter, units=1, starts_at=_PERIOD[0], ends_at=_PERIOD[1], allowance=allowance, price=price)


async def _press(dsn: str, operation: Operation, accounts: Sequence[int], seconds: float) -> float:
    lanes = Lanes(dsn)
    await lanes.start()
    begun, done = time.perf_counter(), 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < begun + seconds:
            await operation(lanes, random.choice(accounts))
            done += 1

    try:
        await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
        return done / (time.perf_counter() - begun)
    finally:
        await lanes.stop()


async def _quotas(dsn: str, effort: Effort) -> list[Figure]:
    async with asyncpg.create_pool(dsn, min_size=32, max_size=32) as pool:
        accounts = await open_accounts(pool, _ACCOUNTS)
        await _make_naive(pool)
        say(f"One hot key with {_HOT_EVENTS:,} events")
        await _heat(pool, accounts[0])
        figures: list[Figure] = []
        for who, chosen in ((f"{_ACCOUNTS:,} keys", accounts), ("one hot key with 100,000 events", accounts[:1])):
            pairs = []
            for _ in range(effort.rounds):
                naive = await _press_naive(pool, chosen, effort.seconds)
                batched = await _press(dsn, _use, chosen, effort.seconds)
                pairs.append((batched, naive))
            figures.append(
                Row(
                    f"quota checks, exact over 30 days, {who}: batched over one by one",
                    middle(batched / naive for batched, naive in pairs),
                    "x",
                    f"{middle(pair[0] for pair in pairs):,.0f}/s over {middle(pair[1] for pair in pairs):,.0f}/s",
                )
            )
            say(f"{who}: {figures[-1]}")
    await reconcile(dsn, granted=_ACCOUNTS * FUNDS)
    return figures


async def _use(lanes: Lanes, account: int) -> None:
    use = FeatureClaim(feature="ad_generations", units=1, limit=_NO_END)
    await lanes.admit(new_id(), account, 0, (use,), expires_in_s=600, counted=True)


async def _make_naive(pool: asyncpg.Pool) -> None:
    """Counting as it is usually written: an event a use, and a sum over the window before each."""
    await pool.execute(
        "create table naive_use (account bigint not null, at timestamptz not null, units bigint not null)"
    )
    await pool.execute("create index on naive_use (account, at)")


async def _heat(pool: asyncpg.Pool, account: int) -> None:
    """Uses all over the last 20 days, in both ways of counting."""
    await pool.execute(
        "insert into naive_use select $1, now() - n * interval '17 s', 1 from generate_series(1, $2::integer) as n",
        account,
        _HOT_EVENTS,
    )
    await pool.execute(
        "with use as materialized ("
        "    select gen_random_uuid() as hold, n, now() - ($2::integer - n + 1) * interval '17 s' as at"
        "    from generate_series(1, $2::integer) as n"
        "), held as ("
        "    insert into hold (id, account, amount, actual, state, created_at, expires_at, layer, claims)"
        "    select hold, $1, 0, 0, 'settled', at, at, 'included',"
        "        array[('ad_generations', null, 1, 1, 0, 0, 1, 0)::claim] from use"
        ")"
        " insert into feature_use (account, feature, at, units, cumulative, hold)"
        " select $1, 'ad_generations', at, 1, n, hold from use",
        account,
        _HOT_EVENTS,
    )
    await pool.execute(
        "insert into feature_counter (account, feature, total, last_at) values ($1, 'ad_generations', $2, now())",
        account,
        _HOT_EVENTS,
    )
    for table in ("naive_use", "feature_use", "feature_counter"):
        await pool.execute(f"vacuum (analyze) {table}")


async def _press_naive(pool: asyncpg.Pool, accounts: Sequence[int], seconds: float) -> float:
    begun, done = time.perf_counter(), 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < begun + seconds:
            account = random.choice(accounts)
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("select pg_advisory_xact_lock($1)", account)
                used = await connection.fetchval(
                    "select coalesce(sum(units), 0) from naive_use"
                    " where account = $1 and at > now() - interval '720 hours'",
                    account,
                )
                if used >= _NO_END:
                    raise WrongBooks("a use was refused although there was room")
                await connection.execute("insert into naive_use values ($1, clock_timestamp(), 1)", account)
            done += 1

    await asyncio.gather(*(caller() for _ in range(pool.get_max_size())))
    return done / (time.perf_counter() - begun)


async def _changes(dsn: str) -> list[Figure]:
    """From before the change is asked for until the last of several gateways enforces it."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=8) as pool:
        async with pool.acquire() as connection:
            customer = (await organization.create(connection, name="Bench")).id
        hearers = [Changes(dsn) for _ in range(_GATEWAYS)]
        gateways = [LiveConstraints(pool, hearer) for hearer in hearers]
        for hearer in hearers:
            await hearer.start()
        try:
            delays = [await _change(pool, gateways, customer, number) for number in range(1, _CHANGES + 1)]
        finally:
            for hearer in hearers:
                await hearer.stop()
    delays.sort()
    return [
        Row(
            f"from a change of a customer's terms to the last of {_GATEWAYS} gateways that enforces it",
            delays[-1],
            "ms",
            f"the slowest of {_CHANGES}; median {delays[len(delays) // 2]:.1f} ms",
            at_most(1000),
        )
    ]


async def _change(pool: asyncpg.Pool, gateways: Sequence[LiveConstraints], customer: str, limit: int) -> float:
    for gateway in gateways:
        await gateway.find(customer)
    begun = time.perf_counter()
    async with pool.acquire() as connection:
        await override(connection, customer, lambda agreed: replace(agreed, credit_limit=limit), by="bench")
    for gateway in gateways:
        while (await gateway.find(customer)).credit_limit != limit:  # noqa: ASYNC110 - that moment is what is measured
            await asyncio.sleep(0.001)
    return (time.perf_counter() - begun) * 1000
