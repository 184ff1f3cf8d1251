"""The end of every run: the books must add up, or the speed means nothing."""

import asyncio
import time
from typing import Final

import asyncpg

from bench.effort import say
from bench.report import WrongBooks
from tallystick.app.verification import verify_books
from tallystick.base.database import open_pool
from tallystick.base.money import to_decimal

_LAST_SETTLES_S: Final = 20.0
_TOTALS: Final = """
    select
        (select count(*) from hold where state = 'open') as open_holds,
        (select coalesce(sum(held), 0) from ledger_account) as held,
        (select coalesce(sum(posted), 0) from ledger_account where kind = 'customer') as posted,
        (select count(*) from usage_record) as records,
        (select coalesce(sum(charge), 0) from usage_record) as charged,
        (select coalesce(sum(amount), 0) from transfer where kind in ('usage', 'deduction')) as moved
"""


async def reconcile(dsn: str, *, granted: int, calls: int | None = None) -> None:
    """Raise WrongBooks unless what customers were granted is what they have and what they were charged, no hold is
    open, and every law holds. `calls` is how many answers were counted by clients: each must have its usage record."""
    async with await open_pool(dsn, size_max=2, application="bench") as pool:
        totals = await _settled_totals(pool)
        _compare("open holds", totals["open_holds"], 0)
        _compare("credits held", totals["held"], 0)
        _compare("fall of the balances and transfers of usage", granted - totals["posted"], totals["moved"])
        if calls is not None:
            _compare("fall of the balances and charges of usage records", granted - totals["posted"], totals["charged"])
            if totals["records"] < calls:
                raise WrongBooks(f"{calls} calls were answered, but there are only {totals['records']} usage records")
        verification = await verify_books(pool)
    if verification.broken:
        problems = next(outcome.problems for outcome in verification.outcomes if outcome.problems)
        raise WrongBooks(f"{verification.broken}: {'; '.join(problems[:3])}")
    say(f"The books add up: {to_decimal(int(totals['moved']))} credits of usage, no hold open, every law holds")


async def _settled_totals(pool: asyncpg.Pool) -> asyncpg.Record:
    """The totals, once the calls whose clients left at the end of the load are settled too."""
    give_up = time.monotonic() + _LAST_SETTLES_S
    while True:
        totals = await pool.fetchrow(_TOTALS)
        if not totals["open_holds"] or time.monotonic() > give_up:
            return totals
        await asyncio.sleep(0.1)


def _compare(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise WrongBooks(f"{what}: {found} is not {expected}")
