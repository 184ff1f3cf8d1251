"""Each law of what goes back is broken by hand, as a defect would break it, and must be found by name."""

import pytest

from tallystick.payments.debts.collect import collect_due
from tallystick.payments.refunds.verify import checks

MORE, ONCE, POSTING, CAUSELESS, SHARES, NUMBERS, DEBTS, RECEIVABLE, HELD = (check.name for check in checks)


@pytest.fixture
async def world(till, pool):
    """A refund in part, a refund that failed, and a dispute of what was spent, paid for in part."""
    failing, disputed, refunded = [await till.buy(amount) for amount in (700, 2500, 1000)]
    refund = await till.refund(failing)
    await till.receive(await till.events(failing))
    await till.control(f"refunds/{refund}/fail")
    await till.spend(34 * 10**9)
    await till.refund(refunded, 100)
    await till.dispute(disputed)
    for paid in (failing, disputed, refunded):
        await till.receive(await till.events(paid))
    await till.buy(300)
    await collect_due(pool)
    return till


async def broken(connection):
    return {check.name for check in checks if await check.run(connection)}


DEFECTS = [
    ("select 1", set()),
    ("update refund set amount_minor = 1001 where amount_minor = 100", {MORE, ONCE}),
    ("update dispute set withdrawals = 0", {ONCE}),
    ("update refund set state = 'succeeded' where state = 'failed'", {ONCE}),
    ("update refund set state = 'failed' where state = 'succeeded'", {ONCE}),
    ("update clawback set money = money + 1, taken = taken + 1 where amount_minor = 100", {POSTING}),
    ("update clawback set reversed_at = now() where dispute is not null", {ONCE, POSTING, NUMBERS, DEBTS}),
    ("update clawback set reversed_at = null where reversed_at is not null", {ONCE, POSTING, NUMBERS}),
    ("update clawback set money = money - 1 where dispute is not null", {POSTING, SHARES, DEBTS}),
    ("update payment_order set refunded_minor = 0", {NUMBERS}),
    ("update debt set open = open - 1", {DEBTS, RECEIVABLE}),
    ("update debt set amount = amount + 1", {DEBTS}),
    ("update debt_payment set amount = amount - 1", {DEBTS}),
    ("update debt_payment set reversed_at = now()", {DEBTS}),
    ("delete from debt_payment", {CAUSELESS, DEBTS, RECEIVABLE}),
    ("delete from restriction", {HELD}),
    ("update restriction set kind = 'throttle'", {HELD}),
    ("update debt set policy = 'none'", {HELD}),
]


async def test_each_defect_is_found(world, pool):
    async with pool.acquire() as connection:
        for defect, found in DEFECTS:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(defect)
            assert await broken(connection) == found, defect
            await transaction.rollback()
