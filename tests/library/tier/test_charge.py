import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from tallystick import Conflict, InsufficientCreditsError, InvalidInput, NotFound, QuotaExceeded, Tallystick
from tallystick.accounts.organization import resolve_payer
from tallystick.base.ids import new_id
from tallystick.payments.orders.grant import grant
from tallystick.reservations.claim import Claim
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.recorded import recorded
from tallystick.reservations.sweep import Sweeper

PAGES = "document_page"


@pytest.fixture
async def pro(closed_tally, new_customer, pool):
    """10 pages are included; each after them is $0.01, to 100; $5 to spend."""
    customer = await new_customer("pro")
    async with pool.acquire() as connection:
        _organization, account = await resolve_payer(connection, customer)
    await grant(pool, account, 5 * 10**9, operation=new_id(), source="operator:tests")
    return customer


@pytest.fixture
def balance(pool):
    async def of(customer):
        async with pool.acquire() as connection:
            _organization, account = await resolve_payer(connection, customer)
        row = await pool.fetchrow("select posted, held from ledger_account where id = $1", account)
        return row["posted"], row["held"]

    return of


@pytest.fixture
def counted(pool):
    async def of(customer, meter=PAGES):
        async with pool.acquire() as connection:
            _organization, account = await resolve_payer(connection, customer)
        row = await pool.fetchrow(
            "select used, held from meter_counter where account = $1 and meter = $2", account, meter
        )
        return None if row is None else (row["used"], row["held"])

    return of


async def test_work_within_the_allowance_costs_nothing(tally, pro, balance, counted):
    async with tally.charge(pro, meter=PAGES, quantity=8) as charge:
        assert (charge.held.layer, charge.held.amount) == ("included", 0)
        assert await counted(pro) == (0, 8)
        charge.used(7)
    assert (charge.settled.quantity, charge.settled.charged) == (7, 0)
    assert await counted(pro) == (7, 0)
    assert await balance(pro) == (5 * 10**9, 0)


async def test_what_lies_beyond_it_is_held_and_then_charged_exactly(tally, pro, balance, counted, pool):
    async with tally.charge(pro, meter=PAGES, quantity=60) as charge:
        assert charge.held.amount == Decimal("0.5")
        assert await balance(pro) == (5 * 10**9, 500_000_000)
        charge.used(40)
        charge.used(32)
    settled = charge.settled
    assert (settled.meter, settled.quantity, settled.charged) == (PAGES, 32, Decimal("0.22"))
    assert (settled.balance, settled.available) == (Decimal("4.78"), Decimal("4.78"))
    assert await balance(pro) == (4_780_000_000, 0)
    assert await counted(pro) == (32, 0)
    async with pool.acquire() as connection:
        _at, record = await recorded(connection, UUID(charge.held.id))
    assert (record.endpoint, record.alias, record.usage_source, record.provider, record.model) == (
        "charge", PAGES, "none", "", "",
    )  # fmt: skip
    assert (record.charge, record.cost, record.reserved) == (220_000_000, 0, 500_000_000)


async def test_an_exception_gives_everything_back(tally, pro, balance, counted):
    with pytest.raises(ZeroDivisionError):
        async with tally.charge(pro, meter=PAGES, quantity=60, feature="exports") as charge:
            charge.used(1 // 0)
    assert charge.settled is None
    assert await balance(pro) == (5 * 10**9, 0)
    assert await counted(pro) == (0, 0)
    assert (await tally.usage(pro)).usage["exports"].used == 0


async def test_cancelled_work_gives_everything_back(tally, pro, balance, counted):
    begun = asyncio.Event()

    async def work():
        async with tally.charge(pro, meter=PAGES, quantity=60):
            begun.set()
            await asyncio.sleep(3600)

    working = asyncio.create_task(work())
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (await balance(pro), await counted(pro)) == ((5 * 10**9, 0), (0, 0))


async def test_what_a_cancelled_caller_left_is_finished_before_it_closes(dsn, pro, balance, counted, monkeypatch):
    async with Tallystick.open(dsn) as closing:
        release, begun, ending = closing._engine.release, asyncio.Event(), asyncio.Event()

        async def slowly(user, charge):
            ending.set()
            await asyncio.sleep(0.2)
            await release(user, charge)

        async def work():
            async with closing.charge(pro, meter=PAGES, quantity=60):
                begun.set()
                await asyncio.sleep(3600)

        monkeypatch.setattr(closing._engine, "release", slowly)
        working = asyncio.create_task(work())
        for moment in (begun, ending):
            await moment.wait()
            working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    assert (await balance(pro), await counted(pro)) == ((5 * 10**9, 0), (0, 0))


async def test_the_cap_is_never_passed(tally, pro, counted):
    async def one():
        async with tally.charge(pro, meter=PAGES, quantity=7) as charge:
            await asyncio.sleep(0)
        return charge

    done = await asyncio.gather(*(one() for _ in range(64)), return_exceptions=True)
    refused = [told for told in done if isinstance(told, QuotaExceeded)]
    assert len(done) - len(refused) == 14
    assert {(error.name, error.limit) for error in refused} == {(PAGES, 100)}
    assert await counted(pro) == (98, 0)
    charged = [told.settled.charged for told in done if not isinstance(told, BaseException)]
    assert sum(charged) == Decimal("0.88"), "whatever the order, the period's total is exact"


async def test_who_cannot_pay_is_refused_before_the_work(tally, new_customer, counted):
    poor = await new_customer("pro")
    with pytest.raises(InsufficientCreditsError) as refused:
        async with tally.charge(poor, meter=PAGES, quantity=11):
            pytest.fail("the work began")
    assert (refused.value.required, refused.value.balance) == (Decimal("0.01"), 0)
    assert await counted(poor) in {None, (0, 0)}
    async with tally.charge(poor, meter=PAGES, quantity=10):
        pass


async def test_a_meter_that_the_plan_does_not_name_is_recorded_all_the_same(tally, pro, counted, pool):
    async with tally.charge(pro, meter="image_generation", quantity=3) as charge:
        charge.used(2)
    assert charge.settled.charged == 0
    assert await counted(pro, "image_generation") == (2, 0)
    async with pool.acquire() as connection:
        _at, record = await recorded(connection, UUID(charge.held.id))
    assert record.alias == "image_generation"


async def test_a_feature_is_used_with_it_and_refuses_it(tally, pro, counted):
    for _ in range(12):
        async with tally.charge(pro, meter=PAGES, quantity=1, feature="ad_generations"):
            pass
    with pytest.raises(QuotaExceeded) as refused:
        async with tally.charge(pro, meter=PAGES, quantity=1, feature="ad_generations"):
            pytest.fail("the work began")
    assert refused.value.name == "ad_generations"
    assert await counted(pro) == (12, 0)
    assert (await tally.usage(pro)).usage["ad_generations"].used == 12


async def test_a_request_id_is_charged_once(tally, pro, new_customer, counted):
    async with tally.charge(pro, meter=PAGES, quantity=5, request_id="job-1"):
        pass
    with pytest.raises(Conflict):
        async with tally.charge(pro, meter=PAGES, quantity=5, request_id="job-1"):
            pytest.fail("the work began")
    assert await counted(pro) == (5, 0)
    async with tally.charge(await new_customer("pro"), meter=PAGES, quantity=5, request_id="job-1"):
        pass


async def test_a_request_id_works_again_after_a_failure(tally, pro, counted):
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with tally.charge(pro, meter=PAGES, quantity=5, request_id="job-1"):
                _ = 1 // 0
    async with tally.charge(pro, meter=PAGES, quantity=5, request_id="job-1"):
        pass
    assert await counted(pro) == (5, 0)


async def test_of_two_at_the_same_work_one_that_fails_leaves_the_other_its_charge(tally, pro, counted):
    async with tally.charge(pro, meter=PAGES, quantity=5, request_id="job-1") as charge:
        with pytest.raises(ZeroDivisionError):
            async with tally.charge(pro, meter=PAGES, quantity=5, request_id="job-1") as same:
                assert (same.held.id, same.held.repeated) == (charge.held.id, True)
                _ = 1 // 0
    assert charge.settled.quantity == 5
    assert await counted(pro) == (5, 0)


async def test_work_that_takes_too_long_is_given_back_and_not_paid(tally, pro, counted, balance, pool):
    with pytest.raises(Conflict):
        async with tally.charge(pro, meter=PAGES, quantity=60, feature="exports", lasts_s=1):
            await pool.execute("update hold set created_at = created_at - interval '1 hour', expires_at = created_at")
            await Sweeper(pool).sweep()
            assert await counted(pro) == (0, 0)
    assert await balance(pro) == (5 * 10**9, 0)
    assert (await tally.usage(pro)).usage["exports"].used == 0


async def test_wrong_questions(tally, pro, new_customer):
    for wrong in (
        {"meter": "document_pages", "quantity": 1},
        {"meter": PAGES, "quantity": 0},
        {"meter": PAGES, "quantity": 10**17},
        {"meter": "dollars", "quantity": 1},
        {"meter": "visitor", "quantity": 1},
        {"meter": PAGES, "quantity": 1, "feature": "typo"},
        {"meter": PAGES, "quantity": 1, "lasts_s": 0},
        {"meter": PAGES, "quantity": 10**15},
    ):
        with pytest.raises((InvalidInput, QuotaExceeded)):
            async with tally.charge(pro, **wrong):
                pytest.fail("the work began")
    async with tally.charge(pro, meter=PAGES, quantity=2) as charge:
        for wrong in (3, -1, True, 1.0):
            with pytest.raises(InvalidInput):
                charge.used(wrong)
    with pytest.raises(NotFound):
        async with tally.charge("user_nobody", meter=PAGES, quantity=1):
            pass


async def test_another_organizations_charge_cannot_be_ended(tally, pro, new_customer):
    other = await new_customer("pro")
    async with tally.charge(pro, meter=PAGES, quantity=2) as charge:
        with pytest.raises(NotFound):
            await tally._engine.settle(other, charge.held.id, 0)
        with pytest.raises(NotFound):
            await tally._engine.release(other, charge.held.id)
    assert charge.settled.quantity == 2


@pytest.mark.parametrize("claiming", [True, False])
async def test_a_call_that_was_sent_on_is_not_ended_by_its_id(tally, pro, balance, pool, dsn, claiming):
    async with pool.acquire() as connection:
        _organization, account = await resolve_payer(connection, pro)
    call, sender = new_id(), new_id()
    now = datetime.now(UTC)
    claim = Claim(meter=PAGES, units=3, starts_at=now - timedelta(days=1), ends_at=now + timedelta(days=1))
    lanes = Lanes(dsn)
    await lanes.start()
    try:
        if claiming:
            await lanes.admit(call, account, 10**9, [claim], expires_in_s=60, dispatcher=sender)
        else:
            await lanes.reserve(call, account, 10**9, expires_in_s=60, dispatcher=sender)
    finally:
        await lanes.stop()
    engine = tally._engine
    for end in (engine.settle(pro, str(call), 0), engine.release(pro, str(call)), engine.give_back(pro, str(call))):
        with pytest.raises(NotFound):
            await end
    assert await balance(pro) == (5 * 10**9, 10**9), "nobody but its sender ends it"


async def test_a_charge_is_not_given_back_as_a_use(tally, pro, balance):
    async with tally.charge(pro, meter=PAGES, quantity=60) as charge:
        with pytest.raises(NotFound):
            await tally.give_back(pro, charge.held.id)
    assert charge.settled.charged == Decimal("0.5")
