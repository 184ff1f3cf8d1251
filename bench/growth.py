"""What a reserve+settle cycle costs on a ledger with millions of transfers, over what it costs on an empty one.

Both stand on one server and are measured in turn. The ledger is filled through the same door that customers use, with
deductions in large batches: its books are as good as any.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

import asyncpg

from bench.books import reconcile
from bench.effort import Effort, middle, say
from bench.embedded import add_database, embedded_postgres
from bench.ledger import FUNDS, open_accounts, press_lanes, settle_down
from bench.processes import Tree
from bench.report import Figure, Row, at_most
from tallystick.base.ids import new_id
from tallystick.reservations.lanes import Lanes

_IN_FLIGHT: Final = 256
_FILLERS: Final = 8192
_FILL_BATCH: Final = 2048
_PROGRESS_S: Final = 10.0
_ACCOUNTS: Final = 10_000


async def run(effort: Effort, *, transfers: int) -> list[Figure]:
    """The figures of growth, with the books of both ledgers reconciled at the end."""
    async with embedded_postgres() as (empty, postgres):
        full = await add_database(empty, "full")
        accounts = {dsn: await _accounts(dsn) for dsn in (empty, full)}
        await _fill(full, accounts[full], transfers)
        await _tidy(empty, full)
        # The first writes after a checkpoint write whole pages: that is nobody's growth.
        for dsn in (empty, full):
            await _press(dsn, accounts[dsn], postgres, effort.seconds)
        speeds: list[tuple[_Speed, _Speed]] = []
        for number in range(effort.rounds):
            pair = [await _press(dsn, accounts[dsn], postgres, effort.seconds) for dsn in (empty, full)]
            speeds.append((pair[0], pair[1]))
            say(f"Round {number + 1} of {effort.rounds}: empty {pair[0]}, full {pair[1]}")
        say("Reconciling the books of both ledgers, which reads every transfer")
        for dsn in (empty, full):
            await reconcile(dsn, granted=_ACCOUNTS * FUNDS)
    return _figures(speeds, transfers)


class _Speed:
    def __init__(self, per_s: float, postgres_us: float) -> None:
        self.per_s = per_s
        self.postgres_us = postgres_us

    def __str__(self) -> str:
        return f"{self.per_s:,.0f}/s, PostgreSQL {self.postgres_us:.1f} us a cycle"


async def _accounts(dsn: str) -> list[int]:
    say(f"Opening {_ACCOUNTS:,} accounts")
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        return await open_accounts(pool, _ACCOUNTS)


async def _fill(dsn: str, accounts: Sequence[int], transfers: int) -> None:
    say(f"Filling a ledger with {transfers:,} transfers")
    lanes = Lanes(dsn, batch_max=_FILL_BATCH)
    await lanes.start()
    begun, left = time.monotonic(), transfers

    async def deduct() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await lanes.deduct(new_id(), random.choice(accounts), 1)

    async def report() -> None:
        while True:
            await asyncio.sleep(_PROGRESS_S)
            done = transfers - left
            say(f"{done:,} transfers, {done / (time.monotonic() - begun):,.0f}/s")

    reporting = asyncio.create_task(report())
    try:
        await asyncio.gather(*(deduct() for _ in range(min(_FILLERS, transfers))))
    finally:
        reporting.cancel()
        await lanes.stop()


async def _tidy(*dsns: str) -> None:
    say("Vacuuming, so that no round pays for the filling")
    for dsn in dsns:
        async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
            await settle_down(pool)


async def _press(dsn: str, accounts: Sequence[int], postgres: Tree, seconds: float) -> _Speed:
    before = postgres.cpu_s()
    speed = await press_lanes(dsn, accounts, _IN_FLIGHT, seconds)
    return _Speed(speed.per_s, (postgres.cpu_s() - before) / (speed.per_s * seconds) * 1e6)


def _figures(speeds: Sequence[tuple[_Speed, _Speed]], transfers: int) -> list[Figure]:
    grown = f"with {transfers / 1e6:,.3g}M transfers over an empty ledger"
    rates = [middle(pair[side].per_s for pair in speeds) for side in (0, 1)]
    costs = [middle(pair[side].postgres_us for pair in speeds) for side in (0, 1)]
    return [
        Row(
            f"cost per reserve+settle cycle {grown}",
            middle(empty.per_s / full.per_s for empty, full in speeds),
            "x",
            f"{rates[1]:,.0f}/s, empty {rates[0]:,.0f}/s, {_IN_FLIGHT} in flight",
            at_most(1.25),
        ),
        Row(
            f"PostgreSQL's CPU per cycle {grown}",
            middle(full.postgres_us / empty.postgres_us for empty, full in speeds),
            "x",
            f"{costs[1]:.1f} us, empty {costs[0]:.1f} us",
        ),
    ]
