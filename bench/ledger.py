"""The ledger's speed: reserve + settle cycles, batched against one transaction each, and against pgbench.

`python -m bench.ledger DSN [growth N]` on a database that nobody else uses. Every run ends with the books reconciled: a
speed with a wrong balance is a failure.
"""

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import UUID

import asyncpg
import uvloop

from bench.report import Figure, Row, Skipped, WrongBooks, at_least, at_most, markdown
from tallystick.base.ids import new_id
from tallystick.base.postgres_binaries import find_binaries
from tallystick.catalog.publish import apply
from tallystick.ledger import verify as ledger_verify
from tallystick.ledger.account import PlatformAccount, count_lanes, lane_of, open_account, platform_account
from tallystick.payments.orders.grant import grant
from tallystick.reservations import verify as reservations_verify
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.usage_record import UsageRecord

SECONDS: Final = 5.0
# All of them together must fit a BIGINT.
FUNDS: Final = 10**14
RESERVED: Final = 1_000
CHARGED: Final = 700
NAIVE_CONNECTIONS: Final = 32

# 300 tokens in and 400 out cost 600 nanocredits and are charged 700, so that what is recorded can be recomputed.
CATALOG: Final = """
[[provider]]
name = "bench"
base_url = "https://provider.test/v1"

[[cost_profile]]
provider = "bench"
model = "bench"
input = 0.001
output = 0.00075

[[price]]
provider = "bench"
model = "bench"
input = 0.001
output = 0.001
"""

Cycle = Callable[[UUID, int], Awaitable[None]]
Record = Callable[[UUID, int], UsageRecord]


@dataclass(frozen=True, slots=True)
class Speed:
    """Cycles per second, and the CPU that the client's process used for one."""

    per_s: float
    cpu_us: float

    def __str__(self) -> str:
        return f"{self.per_s:,.0f}/s"


async def run(dsn: str, *, seconds: float = SECONDS) -> list[Figure]:
    """The figures of the ledger, measured in the database `dsn`, which must be migrated."""
    async with asyncpg.create_pool(dsn, min_size=NAIVE_CONNECTIONS, max_size=NAIVE_CONNECTIONS) as pool:
        many = await open_accounts(pool, 10_000)
        lanes = await count_lanes(pool)
        hot = many[:1]
        rows: list[Figure] = []
        speeds: list[Speed] = []
        for accounts, in_flight, floor in ((many, 64, 15), (many, 256, 25), (hot, 256, 50)):
            await settle_down(pool)
            naive = await press(naive_cycle(pool, lanes), accounts, in_flight, seconds)
            await settle_down(pool)
            batched = await press_lanes(dsn, accounts, in_flight, seconds)
            speeds.append(batched)
            who = "one hot account" if accounts is hot else f"{len(accounts):,} accounts"
            rows.append(
                Row(
                    f"reserve + settle, {who}, {in_flight} in flight: batched over one transaction each",
                    batched.per_s / naive.per_s,
                    "x",
                    f"{batched} over {naive}",
                    at_least(floor),
                )
            )
        with_usage = await press_lanes(dsn, many, 256, seconds, record=await usage_records(pool))
        rows.append(
            Row(
                "the same with a usage record each, 256 in flight",
                with_usage.per_s,
                "cycles/s",
                f"{with_usage.cpu_us:.1f} us of client CPU",
            )
        )
        rows.append(await over_pgbench(dsn, speeds[1], seconds))
        await reconcile(pool)
    return rows


async def growth(dsn: str, transfers: int, *, seconds: float = SECONDS) -> list[Figure]:
    """What a cycle costs before and after the ledger has grown by `transfers`."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        accounts = await open_accounts(pool, 10_000)
        await press_lanes(dsn, accounts, 256, seconds / 2)
        await settle_down(pool)
        before = await press_lanes(dsn, accounts, 256, seconds)
        while (have := await count_transfers(pool)) < transfers:
            await press_lanes(dsn, accounts, 512, min(60.0, max(1.0, (transfers - have) / before.per_s)))
        await settle_down(pool)
        after = await press_lanes(dsn, accounts, 256, seconds)
        await reconcile(pool)
    return [
        Row(
            f"cost per cycle with {have / 1e6:.1f}M transfers over an empty ledger",
            before.per_s / after.per_s,
            "x",
            f"{before} before, {after} after",
            at_most(1.25),
        )
    ]


async def press_lanes(
    dsn: str, accounts: Sequence[int], in_flight: int, seconds: float, *, record: Record | None = None
) -> Speed:
    lanes = Lanes(dsn)
    await lanes.start()

    async def cycle(hold: UUID, account: int) -> None:
        await lanes.reserve(hold, account, RESERVED, expires_in_s=600)
        await lanes.settle(hold, account, CHARGED, record and record(hold, account))

    try:
        return await press(cycle, accounts, in_flight, seconds)
    finally:
        await lanes.stop()


async def press(cycle: Cycle, accounts: Sequence[int], in_flight: int, seconds: float) -> Speed:
    """`in_flight` callers, each with one cycle after the other."""
    done = 0
    begun, cpu = time.perf_counter(), time.process_time()
    stop_at = begun + seconds

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < stop_at:
            await cycle(new_id(), random.choice(accounts))
            done += 1

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return Speed(done / (time.perf_counter() - begun), (time.process_time() - cpu) / done * 1e6)


def naive_cycle(pool: asyncpg.Pool, lanes: int) -> Cycle:
    """The same rows and the same guards, in the ordinary way: a pooled connection and a transaction per operation.
    The platform's side is one row per lane here too, although an ordinary ledger has just one."""

    async def cycle(hold: UUID, account: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            granted = await connection.fetchval(
                "update ledger_account set held = held + $2"
                " where id = $1 and posted - held - $2 >= floor + overdraft returning id",
                account,
                RESERVED,
            )
            if granted is None:
                raise WrongBooks("a reserve was refused although there was money")
            await connection.execute(
                "insert into hold (id, account, amount, created_at, expires_at)"
                " values ($1, $2, $3, clock_timestamp(), clock_timestamp() + interval '600 s')",
                hold,
                account,
                RESERVED,
            )
        async with pool.acquire() as connection, connection.transaction():
            held = await connection.fetchval(
                "update hold set state = 'settled', actual = $3"
                " where id = $1 and account = $2 and state = 'open' returning amount",
                hold,
                account,
                CHARGED,
            )
            await connection.execute(
                "update ledger_account set posted = posted - $2, held = held - $3 where id = $1", account, CHARGED, held
            )
            revenue = platform_account(PlatformAccount.REVENUE, lane_of(account, lanes))
            await connection.execute(
                "insert into transfer (at, debit, credit, amount, kind, operation)"
                " values (clock_timestamp(), $1, $2, $3, 'usage', $4)",
                account,
                revenue,
                CHARGED,
                hold,
            )
            await connection.execute("update ledger_account set posted = posted + $2 where id = $1", revenue, CHARGED)

    return cycle


async def over_pgbench(dsn: str, batched: Speed, seconds: float) -> Figure:
    """Our cycles against pgbench's own TPC-B-like transactions on the same server, 32 clients, scale 50."""
    figure = "reserve + settle, 10,000 accounts, 256 in flight: cycles/s over pgbench TPC-B, 32 clients"
    pgbench = find_binaries().program("pgbench")
    if shutil.which(pgbench) is None:
        return Skipped(figure, "there is no pgbench here")
    admin = await asyncpg.connect(dsn)
    name = f"pgbench_{os.getpid()}"
    await admin.execute(f"create database {name}")
    try:
        target = dsn.rsplit("/", 1)[0] + "/" + name
        await _pgbench(pgbench, "-i", "-q", "-s", "50", target)
        told = await _pgbench(pgbench, "-c", "32", "-j", "2", "-T", str(max(1, round(seconds))), "-n", target)
    finally:
        await admin.execute(f"drop database {name}")
        await admin.close()
    match = re.search(r"tps = ([\d.]+)", told)
    if match is None:
        raise RuntimeError(f"pgbench told no tps: {told}")
    tps = float(match[1])
    return Row(figure, batched.per_s / tps, "x", f"{batched} over {tps:,.0f} tps", at_least(8))


async def _pgbench(*command: str) -> str:
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    return done.stdout


async def open_accounts(pool: asyncpg.Pool, count: int) -> list[int]:
    """Customers with more money than a run can spend, granted as an operator would, so that every law can hold."""
    async with pool.acquire() as connection, connection.transaction():
        accounts = [await open_account(connection) for _ in range(count)]
    waiting = iter(accounts)

    async def give() -> None:
        for account in waiting:
            await grant(pool, account, FUNDS, operation=new_id(), source="benchmark", kind="purchased")

    await asyncio.gather(*(give() for _ in range(pool.get_max_size())))
    return accounts


async def usage_records(pool: asyncpg.Pool) -> Record:
    """What the gateway would record of a call, naming the published cost and price that it follows from."""
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=datetime.now(UTC))
        found = await connection.fetch("select kind, id from catalog_entry where kind in ('cost_profile', 'price')")
    ids = {row["kind"]: row["id"] for row in found}
    return partial(_usage_record, ids["cost_profile"], ids["price"])


def _usage_record(cost_id: int, price_id: int, hold: UUID, account: int) -> UsageRecord:
    return UsageRecord(
        id=hold,
        account=account,
        api_key="key_bench",
        endpoint="chat.completions",
        alias="bench",
        provider="bench",
        model="bench",
        stream=False,
        input_tokens=300,
        output_tokens=400,
        usage_source="provider",
        cost_id=cost_id,
        price_id=price_id,
        cost=600,
        charge=CHARGED,
        reserved=RESERVED,
        outcome="completed",
        rule="completed",
        status=200,
        attempts=1,
        latency_ms=1200,
        first_byte_ms=300,
    )


async def settle_down(pool: asyncpg.Pool) -> None:
    """Let no run pay for the traces of the one before it."""
    await pool.execute("vacuum (analyze) ledger_account")
    await pool.execute("vacuum (analyze) hold")


async def count_transfers(pool: asyncpg.Pool) -> int:
    count: int = await pool.fetchval(
        "select coalesce(max(last_value), 0) from pg_sequences where sequencename = 'transfer_seq_seq'"
    )
    return count


async def reconcile(pool: asyncpg.Pool) -> None:
    """Every check of the laws; raises WrongBooks."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        for check in (*ledger_verify.checks, *reservations_verify.checks):
            problems = await check.run(connection)
            if problems:
                raise WrongBooks(f"law {check.law}, {check.name}: {problems[0]}")


async def main(dsn: str, *options: str) -> None:
    rows = await growth(dsn, int(options[1])) if options[:1] == ("growth",) else await run(dsn)
    print(markdown(rows))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
