"""Publishing: documents follow the catalog, none is lost, and floors follow them as far as debts allow."""

import asyncio
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from tallystick.accounts import organization
from tallystick.base.errors import InsufficientCreditsError, NotFound
from tallystick.catalog.publish import apply
from tallystick.ledger import read
from tallystick.ledger.account import PlatformAccount, platform_account, set_floor
from tallystick.ledger.post import Transfer, post
from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.offer import read_offer
from tallystick.subscriptions.publish import publish_constraints, publish_if_old, publish_old, raise_floors
from tallystick.subscriptions.subscribe import subscribe
from tests.patience import PATIENCE_S, eventually
from tests.subscriptions.shop import CATALOG, DEARER, at

MORE = CATALOG.replace("free = 10", "free = 20")
FREE = CATALOG + '[[plan]]\nslug = "free"\nname = "Free"\nstrategy = "flat"\nprice = 0\ndefault = true\n'


async def pay(connection, account, amount):
    """Into the account; out of it where the amount is negative."""
    clearing = platform_account(PlatformAccount.MANUAL_CLEARING, account % 2)
    debit, credit = (clearing, account) if amount > 0 else (account, clearing)
    async with connection.transaction():
        await post(
            connection,
            operation=uuid4(),
            kind="adjustment",
            transfers=[Transfer(debit=debit, credit=credit, amount=abs(amount))],
            fingerprint="test",
        )


async def floor(connection, account):
    return tuple(await connection.fetchrow("select floor, overdraft from ledger_account where id = $1", account))


async def test_each_call_is_a_new_version_and_one_announcement(connection, acme, told):
    for version in (1, 2):
        assert (await publish_constraints(connection, acme.id)).version == version
        assert await told() == (version, version, 0)
    with pytest.raises(NotFound):
        await publish_constraints(connection, "org_nobody")


async def test_what_fails_afterwards_takes_the_document_with_it(connection, acme, told):
    with pytest.raises(ZeroDivisionError):
        async with connection.transaction():
            await publish_constraints(connection, acme.id)
            raise ZeroDivisionError
    assert await told() == (0, 0, 0)


async def test_versions_never_repeat_however_many_publish(pool, connection, acme, told):
    async def one():
        async with pool.acquire() as other:
            return (await publish_constraints(other, acme.id)).version

    assert sorted(await asyncio.gather(*(one() for _ in range(8)))) == [*range(1, 9)]
    assert await told() == (8, 8, 0)


async def test_features_are_compiled_again_for_everybody(connection, pool, acme, other, told, document):
    await subscribe(connection, acme.id, "starter")
    await publish_constraints(connection, other.id)
    await apply(connection, MORE, now=at("2024-01-01"))
    heard = []
    assert await publish_old(pool, heard.append) == 2
    assert heard == [2]
    assert (await document()).quotas == {"reports": 20}
    assert await told() == (2, 2, 1)
    assert await publish_old(pool) == 0


async def test_who_notices_no_difference_is_told_nothing(connection, pool, acme, told):
    await subscribe(connection, acme.id, "pro")
    await apply(connection, MORE, now=at("2024-01-01"))
    assert await publish_old(pool) == 1
    assert await publish_old(pool) == 0
    assert await told() == (1, 1, 1)


async def test_the_default_plan_is_compiled_again_for_those_without_another(connection, pool, acme, other, told):
    await publish_constraints(connection, acme.id)
    await subscribe(connection, other.id, "pro")
    await apply(connection, FREE, now=at("2024-01-01"))
    assert await publish_old(pool) == 1
    assert await told() == (2, 2, 0)
    assert await connection.fetchval("select version from constraints where organization = $1", other.id) == 1


async def test_a_feature_with_a_date_counts_from_then_on(connection, pool, acme, document):
    await publish_constraints(connection, acme.id)
    soon = await connection.fetchval("select clock_timestamp() + interval '0.5 seconds'")
    await apply(connection, MORE, now=soon)
    assert await publish_old(pool) == 0
    await eventually(lambda: publish_old(pool))
    assert (await document()).quotas == {"reports": 20}


async def test_a_run_that_died_half_way_is_finished_by_the_next(connection, pool, shop):
    made = [await organization.create(connection, name=f"Org {number}") for number in range(5)]
    for one in made:
        await publish_constraints(connection, one.id)
    await apply(connection, MORE, now=at("2024-01-01"))
    offer = await read_offer(connection)
    # Two are done, the third is rolled back with its process.
    assert [await publish_if_old(connection, one.id, offer) for one in made[:2]] == [True, True]
    dying = connection.transaction()
    await dying.start()
    assert await publish_if_old(connection, made[2].id, offer)
    await dying.rollback()
    assert await publish_old(pool) == 3
    documents = await connection.fetch("select version, document -> 'quotas' ->> 'reports' from constraints")
    assert [tuple(row) for row in documents] == [(2, "20")] * 5


async def test_a_run_may_end_early_and_the_next_goes_on(connection, pool, shop):
    for number in range(103):
        await publish_constraints(connection, (await organization.create(connection, name=f"Org {number}")).id)
    await apply(connection, MORE, now=at("2024-01-01"))
    assert [await publish_old(pool, pages_max=1) for _ in range(3)] == [100, 3, 0]


async def test_two_runs_at_once_compile_each_document_once(connection, pool, shop):
    for number in range(10):
        await publish_constraints(connection, (await organization.create(connection, name=f"Org {number}")).id)
    await apply(connection, MORE, now=at("2024-01-01"))
    assert sum(await asyncio.gather(*(publish_old(pool) for _ in range(3)))) == 10
    assert await connection.fetchval("select count(*) from change where kind = 'constraints'") == 20


async def test_a_catalog_applied_meanwhile_leaves_no_old_document(connection, pool, acme, document):
    await publish_constraints(connection, acme.id)
    offer = await read_offer(connection)
    await apply(connection, MORE, now=at("2024-01-01"))
    assert await publish_if_old(connection, acme.id, offer) is False
    await apply(connection, MORE.replace("free = 20", "free = 30"), now=at("2024-01-02"))
    assert await publish_old(pool) == 1
    assert (await document()).quotas == {"reports": 30}


async def test_a_downgrade_while_owing_keeps_the_depth_but_not_to_be_used(connection, pool, acme, told):
    await subscribe(connection, acme.id, "pro")
    await pay(connection, acme.account, -60 * 10**9)
    assert (await read.balance(connection, acme.account)).available == 40 * 10**9
    await change_plan(connection, acme.id, "starter", when="now")
    # Sixty are owed: that deep it may stand, and nobody can take more.
    assert await floor(connection, acme.account) == (-60 * 10**9, 60 * 10**9)
    assert (await read.balance(connection, acme.account)).available == -60 * 10**9
    with pytest.raises(InsufficientCreditsError):
        await pay(connection, acme.account, -1)
    assert await raise_floors(pool) == 0
    await pay(connection, acme.account, 45 * 10**9)
    assert await raise_floors(pool) == 0
    assert await floor(connection, acme.account) == (-15 * 10**9, 15 * 10**9)
    await pay(connection, acme.account, 20 * 10**9)
    assert await raise_floors(pool) == 1
    assert await floor(connection, acme.account) == (0, 0)
    assert await raise_floors(pool) == 0
    # No document changed by that.
    assert (await told())[:2] == (2, 2)


async def test_a_verb_brings_the_floor_back_too(connection, acme):
    await subscribe(connection, acme.id, "pro")
    await pay(connection, acme.account, -60 * 10**9)
    await cancel(connection, acme.id, at_once=True)
    await pay(connection, acme.account, 60 * 10**9)
    await publish_constraints(connection, acme.id)
    assert await floor(connection, acme.account) == (0, 0)
    assert await connection.fetchval("select floor_debt from constraints") == 0


async def test_an_unchanged_floor_locks_no_lane(connection, pool, acme):
    await subscribe(connection, acme.id, "pro")
    async with pool.acquire() as other, other.transaction():
        await other.fetchval("select pg_advisory_xact_lock(31249, $1)", acme.account % 2)
        await asyncio.wait_for(publish_constraints(connection, acme.id), PATIENCE_S)


async def test_a_changed_one_waits_for_its_lane(connection, pool, acme):
    async with pool.acquire() as other, other.transaction():
        await other.fetchval("select pg_advisory_xact_lock(31249, $1)", acme.account % 2)
        waiting = asyncio.create_task(subscribe(connection, acme.id, "pro"))
        await eventually(
            lambda: other.fetchval("select count(*) from pg_locks where locktype = 'advisory' and not granted")
        )
        assert not waiting.done()
    await waiting


async def test_a_floor_that_cannot_be_is_refused(connection, acme):
    for wrong in ({"floor": 1, "overdraft": 0}, {"floor": -1, "overdraft": 2}, {"floor": 0, "overdraft": -1}):
        with pytest.raises(ValueError, match="cannot have"):
            await set_floor(connection, acme.account, **wrong)
    for nobody in (1, 2**40):
        with pytest.raises(NotFound):
            await set_floor(connection, nobody, floor=0, overdraft=0)


async def test_holds_count_as_owed(connection, acme):
    """What is held may still be spent, so the floor stays below it."""
    await subscribe(connection, acme.id, "pro")
    await connection.execute("update ledger_account set held = 70 where id = $1", acme.account)
    await cancel(connection, acme.id, at_once=True)
    assert await floor(connection, acme.account) == (-70, 70)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("update ledger_account set held = 71 where id = $1", acme.account)


async def test_a_document_of_another_form_is_written_again(connection, pool, acme, told, document):
    await subscribe(connection, acme.id, "pro")
    await connection.execute("update constraints set document = document - 'tier', features_read = 0")
    assert await publish_old(pool) == 1
    assert (await document()).tier == "pro"
    assert await told() == (2, 2, 1)


async def test_the_document_is_what_was_returned(connection, acme, document):
    returned = await publish_constraints(connection, acme.id)
    assert returned == await document()
    assert msgspec.json.decode(msgspec.json.encode(returned), type=type(returned)) == returned


async def test_a_new_version_of_a_pinned_plan_compiles_nothing(connection, pool, acme):
    await subscribe(connection, acme.id, "starter")
    await apply(connection, DEARER, now=at("2024-01-01"))
    assert await publish_old(pool) == 0
