import pytest

from tallystick.metering.verify import checks


async def found(pool):
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return {check.name: await check.run(connection) for check in checks}


@pytest.fixture
async def whole(ada, record, constrain, pool):
    """Some events, and a way past the guards of history."""
    constrain(ada, pages=(0, None, 5, 1))
    await record(*({"id": f"e{n}", "organization": ada.id, "meter": "pages", "quantity": n} for n in range(4)))
    async with pool.acquire() as connection:
        for table in ("usage_event", "usage_event_register"):
            await connection.execute(f"alter table {table} disable trigger user")
            await connection.execute(f"grant update, delete on {table} to current_user")
        yield connection


async def test_books_that_are_whole_have_no_problem(whole, pool):
    assert set(map(tuple, (await found(pool)).values())) == {()}


@pytest.mark.parametrize(
    ("tampering", "check"),
    [
        ("insert into usage_event select * from usage_event where id = 'e1'", 0),
        ("delete from usage_event where id = 'e1'", 0),
        ("delete from usage_event_register where id = 'e1'", 0),
        ("update usage_event set increase = 9 where id = 'e2'", 1),
        ("update usage_event set charge = 9 where id = 'e2'", 1),
        ("update hold set claims = null", 1),
        ("delete from hold", 1),
    ],
)
async def test_what_was_tampered_with_is_found(whole, pool, tampering, check):
    await whole.execute(tampering)
    assert (await found(pool))[checks[check].name] != []
