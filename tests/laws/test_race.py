"""Law 2 where it is hardest: far more callers than money, in processes that know nothing of each other."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.ledger.money import broken_laws, customer

PROCESSES = 4
CALLERS = 2_500
AMOUNT = 7
FUNDED = 1_000
# What is left of the funds when all of them are spent, and is too little for one more.
CHANGE = AMOUNT - 1
TABLES = ("transfer", "operation", "lot", "usage_record", "meter_counter", "feature_counter", "feature_use")


async def start(dsn: str, account: int, batch_max: int) -> asyncio.subprocess.Process:
    words = (dsn, str(account), str(AMOUNT), str(CALLERS), str(batch_max))
    script = Path(__file__).with_name("race_process.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**22,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def finish(process: asyncio.subprocess.Process) -> dict[str, Any]:
    told, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(told)
    return found


async def accounts(connection: asyncpg.Connection) -> dict[int, tuple[int, int, int]]:
    rows = await connection.fetch("select id, posted, held, floor from ledger_account")
    return {row["id"]: (row["posted"], row["held"], row["floor"]) for row in rows}


async def counts(connection: asyncpg.Connection) -> list[int]:
    return [await connection.fetchval(f"select count(*) from {table}") for table in TABLES]


@pytest.mark.parametrize("batch_max", [512, 8])  # in small batches the processes take turns hundreds of times
async def test_ten_thousand_at_once_with_funds_for_a_thousand_are_exactly_a_thousand(
    dsn: str, connection: asyncpg.Connection, batch_max: int
) -> None:
    account = await customer(connection, FUNDED * AMOUNT + CHANGE)
    await customer(connection, 10**12)
    before, counted = await accounts(connection), await counts(connection)

    processes = await asyncio.gather(*(start(dsn, account, batch_max) for _ in range(PROCESSES)))
    told = await asyncio.gather(*(finish(process) for process in processes))

    granted = [hold for one in told for hold in one["granted"]]
    assert [one["other"] for one in told] == [[]] * PROCESSES
    assert (len(granted), sum(one["refused"] for one in told)) == (FUNDED, PROCESSES * CALLERS - FUNDED)
    holds = await connection.fetch("select id, account, amount, state from hold")
    assert {str(row["id"]) for row in holds} == set(granted)
    assert {(row["account"], row["amount"], row["state"]) for row in holds} <= {(account, AMOUNT, "open")}
    posted, _, floor = before[account]
    assert await accounts(connection) == before | {account: (posted, FUNDED * AMOUNT, floor)}
    assert await counts(connection) == counted
    assert await broken_laws(connection) == {}
