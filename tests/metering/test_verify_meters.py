"""Usage events that were broken after they were billed: exactly the laws that this breaks are named."""

import pytest

from tallystick.ledger.verify import checks as ledger
from tallystick.metering.verify import checks as metering
from tallystick.reservations.verify import checks as reservations
from tests.ledger.money import broken_laws

ONCE = "law 9: every usage event is recorded once"
AS_HELD = "law 5: usage events were charged what their holds say"
METERS = "law 8: meters are the fold of their holds"
PERIODS = "law 5: a period costs what was used beyond its allowances"
HOLDS = "law 5: every hold was charged what it was settled with"
TABLES = ("usage_event", "usage_event_register")


@pytest.fixture
async def broken(ada, record, constrain, pool):
    """Break something of two billed events, of 4 and 6 pages; the laws that are found broken, with the problems."""
    constrain(ada, pages=(5, None, 2, 1))
    await record(*({"id": f"e{n}", "organization": ada.id, "meter": "pages", "quantity": n} for n in (4, 6)))
    everything = (*ledger, *reservations, *metering)
    async with pool.acquire() as connection:
        assert await broken_laws(connection, everything) == {}

        async def tamper(statement):
            for table in TABLES:
                await connection.execute(f"alter table {table} disable trigger user")
                await connection.execute(f"grant update, delete on {table} to current_user")
            await connection.execute(statement)
            for table in TABLES:
                await connection.execute(f"alter table {table} enable trigger user")
            return await broken_laws(connection, everything)

        yield tamper


@pytest.mark.parametrize(
    ("statement", "law", "problem"),
    [
        ("insert into usage_event select * from usage_event where id = 'e4'", ONCE, "was recorded 2 times"),
        ("delete from usage_event_register where id = 'e4'", ONCE, "is not in the register"),
        ("update usage_event set id = 'e5' where id = 'e4'", ONCE, "is registered and was not recorded"),
        ("update usage_event set increase = 3 where id = 'e4'", AS_HELD, "claims 10 for 10"),
        ("update usage_event set charge = charge + 1 where id = 'e6'", AS_HELD, "come to 10 units for 11"),
        ("update usage_event set hold = '00000000-0000-0000-0000-000000000000'", AS_HELD, "come to 10 units for 10"),
        ("update usage_event set meter = 'sheets'", AS_HELD, "usage events of sheets"),
        ("update meter_counter set used = 9", METERS, "the counter says 9 used and 0 held, its holds 10 and 0"),
    ],
)
async def test_the_broken_law_is_named(broken, statement, law, problem):
    found = await broken(statement)
    assert any(problem in each for each in found[law]), found
    # An event twice is also twice what its hold was charged for.
    assert set(found) - ({AS_HELD} if law == ONCE else set()) == {law}


async def test_a_bill_cut_in_every_place_that_names_it_is_still_too_small(broken):
    """Events and claims agree on a smaller charge; the transfers and the period's price do not."""
    found = await broken("update usage_event set charge = 0; update hold set claims[1].charge = 0")
    assert PERIODS in found
    assert AS_HELD not in found
