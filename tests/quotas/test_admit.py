import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from tallystick.base.errors import Conflict, InvalidInput, NotFound, QuotaExceeded, Unavailable
from tallystick.quotas.admit import admit, give_back
from tallystick.quotas.limit import NoAccess, UnknownFeature
from tallystick.quotas.reading import reading
from tallystick.quotas.usage import check, usage
from tallystick.quotas.use import WINDOW
from tallystick.reservations.lanes import Lanes

FEATURE = "ad_generations"
CLIENTS = 64


@pytest.fixture
def use(pool, lanes):
    async def one(customer, units=1, request_id=None, feature=FEATURE, writer=lanes):
        return await admit(pool, writer, customer, feature, now=datetime.now(UTC), units=units, request_id=request_id)

    return one


@pytest.fixture
def used(pool):
    async def of(customer, feature=FEATURE):
        async with pool.acquire() as connection:
            return (await usage(connection, customer)).usage[feature].used

    return of


@pytest.fixture
def age(pool):
    """Let uses lie further back, as the days after them would."""

    async def by(customer, days):
        moved = (customer.account, timedelta(days=days))
        await pool.execute("update feature_use set at = at - $2::interval where account = $1", *moved)
        await pool.execute("update feature_counter set last_at = last_at - $2::interval where account = $1", *moved)
        await pool.execute(
            "update hold set created_at = created_at - $2::interval, expires_at = expires_at - $2::interval"
            " where account = $1",
            *moved,
        )

    return by


async def outcomes(asked):
    found = await asyncio.gather(*asked, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, QuotaExceeded):
            raise one
    return [one for one in found if not isinstance(one, QuotaExceeded)], [
        one for one in found if isinstance(one, QuotaExceeded)
    ]


async def test_the_limit_is_admitted_and_not_one_more(ada, use, used):
    for n in range(1, 11):
        told = await use(ada)
        assert (told.used, told.limit, told.remaining) == (n, 10, 10 - n)
    with pytest.raises(QuotaExceeded) as refused:
        await use(ada)
    assert refused.value.details["feature"] == FEATURE
    assert (refused.value.limit, refused.value.used, refused.value.remaining) == (10, 10, 0)
    assert await used(ada) == 10


async def test_sixty_four_clients_at_the_edge(new_customer, use, used):
    for limit in (0, 1, 7, 63, 64, 100):
        customer = await new_customer(**{FEATURE: limit})
        admitted, refused = await outcomes(use(customer) for _ in range(CLIENTS))
        assert len(admitted) == min(limit, CLIENTS)
        assert len(refused) == CLIENTS - len(admitted)
        # Everyone was told another place in the window: none was counted twice, none was lost.
        assert sorted(one.used for one in admitted) == list(range(1, len(admitted) + 1))
        assert await used(customer) == len(admitted)


async def test_clients_of_several_processes_share_one_limit(dsn, new_customer, use, used):
    customer = await new_customer(**{FEATURE: 20})
    writers = [Lanes(dsn) for _ in range(4)]
    for writer in writers:
        await writer.start()
    admitted, _refused = await outcomes(use(customer, writer=writers[n % 4]) for n in range(CLIENTS))
    for writer in writers:
        await writer.stop()
    assert len(admitted) == 20
    assert await used(customer) == 20


@pytest.mark.parametrize("windows", [60, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
async def test_many_windows_with_a_moved_clock_none_over_none_lost(windows, new_customer, use, used, age):
    """Days pass between bursts of 64; a model that keeps every use says what must have been admitted."""
    dice = random.Random(20)
    customer = await new_customer(**{FEATURE: 25})
    ages = []
    for _ in range(windows):
        days = dice.choice([0, 1, 3, 9, 17, 29])
        await age(customer, days)
        ages = [(old + days, units) for old, units in ages if old + days < 30]
        before = sum(units for _old, units in ages)
        weights = [dice.choice([1, 1, 1, 2, 5]) for _ in range(CLIENTS)]
        admitted, refused = await outcomes(use(customer, units) for units in weights)
        ages += [(0, one.units) for one in admitted]
        now_used = sum(units for _old, units in ages)
        assert await used(customer) == now_used <= 25
        # Whoever was refused did not fit.
        assert all(refusal.used + 1 <= 25 or refusal.used == 25 for refusal in refused)
        assert before == 25 or admitted
        assert now_used == 25, "64 clients with uses of 1 among them fill any window"


async def test_a_use_leaves_the_window_exactly_thirty_days_after_it(pool, ada, use, used, age):
    told = await use(ada, units=10)
    at = await pool.fetchval("select at from feature_use where hold = $1", UUID(told.id))
    assert told.resets_at == at + WINDOW
    with pytest.raises(QuotaExceeded) as refused:
        await use(ada)
    assert refused.value.retry_at == at + WINDOW
    # A minute before: still there.
    await pool.execute("update feature_use set at = clock_timestamp() - interval '719 hours 59 minutes'")
    assert await used(ada) == 10
    await pool.execute("update feature_use set at = clock_timestamp() - interval '720 hours'")
    assert await used(ada) == 0
    assert (await use(ada)).used == 1


async def test_a_clock_that_is_changed_by_an_hour_does_not_move_the_window(dsn, pool, ada, use):
    """In a time zone with summer time a month of days is now and then an hour longer: a window never is."""
    told = await use(ada)
    async with pool.acquire() as connection:
        await connection.execute("set time zone 'America/New_York'")
        at = await connection.fetchval("select at from feature_use where hold = $1", UUID(told.id))
        await connection.execute("update feature_use set at = '2026-03-01T12:00:00Z'")
        ends = await connection.fetchval("select window_end from tier_usage where id = $1", UUID(told.id))
        await connection.execute("reset time zone")
    assert ends - datetime(2026, 3, 1, 12, tzinfo=UTC) == WINDOW
    assert at.tzinfo is not None


async def test_retry_at_is_when_enough_has_left(ada, use, age):
    early = await use(ada, units=4)
    await age(ada, 20)
    await use(ada, units=4)
    assert (await use(ada, units=2)).remaining == 0
    with pytest.raises(QuotaExceeded) as one:
        await use(ada, units=4)
    with pytest.raises(QuotaExceeded) as five:
        await use(ada, units=5)
    with pytest.raises(QuotaExceeded) as eleven:
        await use(ada, units=11)
    early_leaves = early.resets_at - timedelta(days=20)
    assert one.value.retry_at == early_leaves
    assert five.value.retry_at > early_leaves + timedelta(days=19)
    assert eleven.value.retry_at is None, "no waiting makes room for more than the limit"


async def test_weights_are_all_or_nothing(ada, use, used):
    await use(ada, units=8)
    with pytest.raises(QuotaExceeded):
        await use(ada, units=3)
    assert await used(ada) == 8
    assert (await use(ada, units=2)).remaining == 0


@pytest.mark.parametrize("units", [0, -1, True, 1.0, "1", None, 10**16])
async def test_units_are_whole_numbers_from_one(ada, use, used, units):
    with pytest.raises(InvalidInput):
        await use(ada, units=units)
    assert await used(ada) == 0


async def test_the_same_request_id_is_counted_once(ada, use, used):
    first = await use(ada, request_id="job-1")
    again = await use(ada, request_id="job-1")
    assert (again.id, again.repeated, first.repeated) == (first.id, True, False)
    together = await asyncio.gather(*(use(ada, request_id="job-2") for _ in range(CLIENTS)))
    assert len({one.id for one in together}) == 1
    assert await used(ada) == 2


async def test_a_repetition_is_answered_although_the_quota_is_used_up(ada, use):
    first = await use(ada, units=10, request_id="job-1")
    assert (await use(ada, units=10, request_id="job-1")).id == first.id


async def test_the_same_request_id_with_other_content_is_a_conflict(ada, use):
    await use(ada, request_id="job-1")
    with pytest.raises(Conflict):
        await use(ada, units=2, request_id="job-1")
    with pytest.raises(Conflict):
        await use(ada, feature="exports", request_id="job-1")


async def test_another_organizations_request_id_is_another_one(ada, new_customer, use, used):
    other = await new_customer()
    mine, theirs = await use(ada, request_id="job-1"), await use(other, request_id="job-1")
    assert mine.id != theirs.id
    assert (await used(ada), await used(other)) == (1, 1)


async def test_given_back_is_as_if_it_had_never_been(pool, ada, use, used, lanes):
    told = await use(ada, units=10)
    await give_back(lanes, ada.account, UUID(told.id))
    await give_back(lanes, ada.account, UUID(told.id))
    assert await used(ada) == 0
    assert await pool.fetchval("select count(*) from feature_use") == 0
    assert (await use(ada, units=10)).used == 10


async def test_given_back_in_the_middle_of_a_window_leaves_later_sums_right(ada, use, used, age, lanes):
    uses = []
    for _ in range(5):
        uses.append(await use(ada, units=2))
        await age(ada, 5)
    # 25, 20, 15, 10 and 5 days old.
    await give_back(lanes, ada.account, UUID(uses[2].id))
    assert await used(ada) == 8
    await age(ada, 5)
    assert await used(ada) == 6, "the oldest has left"
    await age(ada, 5)
    assert await used(ada) == 4
    await age(ada, 5)
    assert await used(ada) == 4, "what was given back does not leave once more"
    await age(ada, 5)
    assert await used(ada) == 2
    await age(ada, 5)
    assert await used(ada) == 0


async def test_given_back_after_it_left_the_window_changes_nothing(ada, use, used, age, lanes):
    old = await use(ada, units=4)
    await age(ada, 31)
    await use(ada, units=3)
    await give_back(lanes, ada.account, UUID(old.id))
    assert await used(ada) == 3


async def test_uses_and_give_backs_of_many_at_a_time(new_customer, use, used, age, lanes, pool):
    customer = await new_customer(**{FEATURE: 10})

    async def one(n):
        told = await use(customer)
        if n % 2:
            await give_back(lanes, customer.account, UUID(told.id))
        return told

    for _ in range(10):
        await outcomes(one(n) for n in range(CLIENTS))
        in_window = "select coalesce(sum(units), 0) from feature_use where at > now() - interval '720 hours'"
        assert await used(customer) == await pool.fetchval(in_window) <= 10
        kept = await pool.fetchval("select sum(units) from feature_use")
        assert kept == await pool.fetchval("select total - pruned from feature_counter")
        assert kept == await pool.fetchval("select max(cumulative) from feature_use")
        await pool.execute("update feature_use set at = at - interval '31 days'")
        await pool.execute("update feature_counter set last_at = last_at - interval '31 days'")
        await pool.execute("update feature_counter set total = 0, pruned = 0 where account = $1", customer.account)
        await pool.execute("delete from feature_use")


async def test_what_was_given_back_can_be_taken_again_with_the_same_id(ada, use, used, lanes):
    first = await use(ada, request_id="job-1")
    await give_back(lanes, ada.account, UUID(first.id))
    second = await use(ada, request_id="job-1")
    assert second.id != first.id
    assert (await use(ada, request_id="job-1")).id == second.id
    assert await used(ada) == 1
    # The first one said late once more takes nothing from the second.
    await give_back(lanes, ada.account, UUID(first.id))
    assert await used(ada) == 1


async def test_another_organizations_use_cannot_be_given_back(ada, new_customer, use, used, lanes):
    other = await new_customer()
    told = await use(ada)
    with pytest.raises(NotFound):
        await give_back(lanes, other.account, UUID(told.id))
    assert await used(ada) == 1


async def test_unlimited_is_counted_and_never_refused(ada, use, used):
    told = await asyncio.gather(*(use(ada, feature="exports") for _ in range(100)))
    assert {(one.limit, one.remaining, one.resets_at) for one in told} == {(None, None, None)}
    assert await used(ada, "exports") == 100


async def test_a_change_of_tier_keeps_the_window(ada, use, used, replace):
    for _ in range(10):
        await use(ada)
    pro = replace(ada, tier="pro", quotas={**ada.quotas, FEATURE: 12})
    assert (await use(pro)).used == 11
    assert await used(pro) == 11
    with pytest.raises(QuotaExceeded) as refused:
        await use(ada)
    assert (refused.value.used, refused.value.remaining) == (11, 0)


async def test_a_request_is_the_same_after_a_change_of_tier(ada, use, replace):
    first = await use(ada, request_id="job-1")
    pro = replace(ada, tier="pro", quotas={**ada.quotas, FEATURE: 100})
    again = await use(pro, request_id="job-1")
    assert (again.id, again.limit, again.remaining) == (first.id, 100, 99)


async def test_what_nobody_has_heard_of_is_refused(ada, use):
    with pytest.raises(UnknownFeature) as refused:
        await use(ada, feature="ad_generation")
    assert refused.value.status == 422


async def test_without_access_nothing_is_used(pool, ada, use, used, replace):
    paused = replace(ada, access=False, access_reason="Your subscription is paused.")
    with pytest.raises(NoAccess, match="paused"):
        await use(paused)
    over = replace(ada, access_until=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(NoAccess):
        await use(over)
    async with pool.acquire() as connection:
        told = await check(connection, over, FEATURE)
    assert not told
    assert told.reason
    assert await used(ada) == 0


async def test_refused_uses_leave_no_trace(pool, ada, use):
    await use(ada, units=10)
    before = await _everything(pool)
    await outcomes(use(ada) for _ in range(CLIENTS))
    assert await _everything(pool) == before


async def test_a_use_that_was_counted_is_told_although_its_reset_cannot_be_read(pool, ada, lanes, used):
    away = await asyncpg.create_pool(min_size=0, dsn="postgresql://nobody@127.0.0.1:9/nothing")
    async with away:
        told = await admit(away, lanes, ada, FEATURE, now=datetime.now(UTC))
    assert (told.used, told.resets_at) == (1, None)
    assert await used(ada) == 1


async def test_a_database_that_does_not_answer_is_no_defect():
    async with asyncpg.create_pool(min_size=0, dsn="postgresql://nobody@127.0.0.1:9/nothing") as away:
        with pytest.raises(Unavailable):
            async with reading(away):
                pass


async def _everything(pool):
    tables = ("hold", "feature_use", "feature_counter", "ledger_account", "transfer", "usage_record")
    return {table: await pool.fetch(f"select * from {table} order by 1, 2") for table in tables}
