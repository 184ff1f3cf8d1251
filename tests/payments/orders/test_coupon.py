import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tallystick.base.errors import Conflict, RateLimited
from tallystick.catalog.book import Book
from tallystick.catalog.errors import UnknownCoupon
from tallystick.catalog.timeline import Version
from tallystick.payments.orders.approve import credit_anyway
from tallystick.payments.orders.change import await_payment
from tallystick.payments.orders.discount import CouponNotFitting, with_coupon
from tallystick.payments.orders.end_unpaid import expire_unpaid
from tallystick.payments.orders.place import place
from tallystick.payments.orders.purchase_terms import Purchase
from tallystick.payments.orders.read_coupon import read_coupon
from tallystick.payments.orders.redeem import redeem
from tallystick.payments.orders.take_coupon import CouponNotValid, CouponUsedUp, FirstPurchaseOnly
from tallystick.payments.stripe.checkout import CheckoutSession

pytestmark = pytest.mark.usefixtures("books")
PLAIN = Purchase(amount_minor=2500, currency="usd", credits=25 * 10**9, pack="standard")


def now():
    return datetime.now(UTC)


async def buy(shop, coupon, request_id=None):
    """An order with the coupon, its buyer on the payment page."""
    bought = with_coupon(PLAIN, coupon)
    placed = await place(shop.pool, shop.buyer, bought, request_id=request_id, livemode=False, coupon=coupon)
    await await_payment(shop.pool, placed, CheckoutSession(id=f"cs_{placed.id}", url="https://pay.example/"))
    return await shop.reread(placed)


async def taken(pool, code="HALF"):
    return await pool.fetchval("select taken from coupon_count where code = $1", code)


@pytest.mark.parametrize(
    ("fields", "paid", "bought"),
    [
        ({"percent_off": 50}, 1250, 25),
        ({"percent_off": 33}, 1675, 25),
        ({"amount_off": Decimal(5)}, 2000, 25),
        ({"bonus_credits": Decimal("2.5")}, 2500, Decimal("27.5")),
    ],
)
async def test_what_is_paid_and_what_is_bought(shop, coupon, pool, fields, paid, bought):
    order = await buy(shop, coupon(**fields))
    assert (order.amount_minor, order.discount_minor, order.coupon) == (paid, 2500 - paid, "HALF")
    await shop.receive(shop.event("payment_intent.succeeded", order))
    assert await shop.balance() == bought * 10**9
    clearing = await pool.fetchval("select sum(posted)::bigint from ledger_account where kind = 'stripe_clearing'")
    assert clearing == -paid * 10**7, "money at Stripe, not credits"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"percent_off": 99}, "too little"),
        ({"percent_off": 10, "packs": ["power", "starter"]}, "power, starter"),
        ({"free_credits": Decimal(5)}, "/api/credits/redeem"),
    ],
)
def test_what_it_is_not_for(coupon, fields, said):
    with pytest.raises(CouponNotFitting, match=said):
        with_coupon(PLAIN, coupon(**fields))


async def test_the_same_request_takes_it_once(shop, coupon, pool):
    orders = await asyncio.gather(*(buy(shop, coupon(percent_off=50), "click-1") for _ in range(8)))
    assert len({order.id for order in orders}) == 1
    assert await taken(pool) == 1
    with pytest.raises(Conflict):
        await place(pool, shop.buyer, PLAIN, request_id="click-1", livemode=False)


async def test_of_many_at_once_exactly_as_many_have_it_as_may(new_shop, shop, coupon, pool):
    limited = coupon(percent_off=50, redemptions_max=3)
    shops = [shop, *[await new_shop() for _ in range(11)]]
    done = await asyncio.gather(*(buy(one, limited) for one in shops), return_exceptions=True)
    assert sum(isinstance(one, CouponUsedUp) for one in done) == 9
    assert sum(not isinstance(one, Exception) for one in done) == 3
    assert await taken(pool) == 3
    assert await pool.fetchval("select count(*) from payment_order") == 3, "the others made no order"


async def test_an_organization_has_it_as_often_as_it_may_even_at_once(shop, coupon, pool):
    twice = coupon(percent_off=50, per_organization_max=2)
    done = await asyncio.gather(*(buy(shop, twice) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(one, CouponUsedUp) for one in done) == 4
    assert await taken(pool) == 2


async def test_what_ends_unpaid_is_given_back(shop, new_shop, coupon, pool):
    single = coupon(percent_off=50, redemptions_max=1)
    order, other = await buy(shop, single), await new_shop()
    with pytest.raises(CouponUsedUp):
        await buy(other, single)
    await shop.receive(shop.event("payment_intent.payment_failed", order))
    assert await taken(pool) == 1, "another card may be tried on the same page"
    for _ in range(2):
        await shop.receive(shop.event("checkout.session.expired", order, payment_status="unpaid"))
    assert ((await shop.reread(order)).state, await taken(pool)) == ("expired", 0)
    await buy(other, single)
    assert await taken(pool) == 1


async def test_paid_after_all_it_is_taken_again_if_it_is_still_there(shop, coupon, pool):
    order = await buy(shop, coupon(percent_off=50, redemptions_max=1))
    await shop.receive(shop.event("checkout.session.expired", order, payment_status="unpaid"))
    await shop.receive(shop.event("payment_intent.succeeded", order))
    assert (await shop.balance(), await taken(pool)) == (25 * 10**9, 1)


async def test_paid_after_another_had_it_the_money_waits_for_a_person(shop, new_shop, coupon, pool):
    single = coupon(percent_off=50, redemptions_max=1)
    order = await buy(shop, single)
    await shop.receive(shop.event("checkout.session.expired", order, payment_status="unpaid"))
    await buy(await new_shop(), single)
    await shop.receive(shop.event("payment_intent.succeeded", order))
    after = await shop.reread(order)
    assert (after.state, await shop.balance(), await taken(pool)) == ("paid", 0, 1)
    assert "used up" in after.reason


async def test_a_checkout_that_never_began_gives_it_back_after_a_day(shop, coupon, pool):
    bought = with_coupon(PLAIN, coupon(percent_off=50))
    order = await place(pool, shop.buyer, bought, request_id=None, livemode=False, coupon=coupon(percent_off=50))
    assert await expire_unpaid(pool) == 0
    await pool.execute("update payment_order set created_at = created_at - interval '26 hours'")
    assert await expire_unpaid(pool) == 1
    assert ((await shop.reread(order)).state, await taken(pool)) == ("expired", 0)


async def test_it_has_its_time(shop, coupon):
    tomorrow, yesterday = now() + timedelta(days=1), now() - timedelta(days=1)
    with pytest.raises(CouponNotValid, match="valid from"):
        await buy(shop, coupon(percent_off=50, starts=tomorrow))
    with pytest.raises(CouponNotValid, match="expired"):
        await buy(shop, coupon(percent_off=50, ends=yesterday))
    await buy(shop, coupon(percent_off=50, starts=yesterday, ends=tomorrow))


async def test_a_first_purchase_is_the_first(shop, coupon):
    first = coupon(percent_off=50, first_purchase=True, per_organization_max="unlimited")
    order = await buy(shop, first)
    with pytest.raises(FirstPurchaseOnly):
        await buy(shop, first)
    await shop.receive(shop.event("checkout.session.expired", order, payment_status="unpaid"))
    await shop.receive(shop.event("payment_intent.succeeded", await buy(shop, first)))
    with pytest.raises(FirstPurchaseOnly):
        await buy(shop, first)


async def end(shop, order):
    await shop.receive(shop.event("checkout.session.expired", order, payment_status="unpaid"))


@pytest.mark.parametrize("fields", [{"first_purchase": True, "per_organization_max": "unlimited"}, {}])
async def test_paid_after_all_it_is_not_taken_a_second_time(shop, coupon, pool, fields):
    once = coupon(percent_off=50, **fields)
    order = await buy(shop, once)
    await end(shop, order)
    other = await buy(shop, once)
    await shop.receive(shop.event("payment_intent.succeeded", order))
    after = await shop.reread(order)
    assert (after.state, await shop.balance(), await taken(pool)) == ("paid", 0, 1)
    assert "used up" in after.reason
    await shop.receive(shop.event("payment_intent.succeeded", other))
    assert (await shop.balance(), await taken(pool)) == (25 * 10**9, 1)


@pytest.mark.parametrize("fields", [{"first_purchase": True, "per_organization_max": "unlimited"}, {}])
async def test_paid_after_all_and_taken_again_at_once_one_has_it(shop, coupon, pool, fields):
    once = coupon(percent_off=50, **fields)
    late = []
    for _ in range(4):
        late.append(await buy(shop, once))
        await end(shop, late[-1])
    assert await taken(pool) == 0
    await asyncio.gather(*(pool.fetchval("select pg_sleep(0.1)") for _ in late))
    events = [shop.event("payment_intent.succeeded", order) for order in late]
    done = await asyncio.gather(
        *(shop.receive(event) for event in events), buy(shop, once), buy(shop, once), return_exceptions=True
    )
    assert all(one is None for one in done[:4])
    states = [(await shop.reread(order)).state for order in late]
    bought = sum(not isinstance(one, Exception) for one in done[4:])
    assert {type(one) for one in done[4:] if isinstance(one, Exception)} <= {CouponUsedUp, FirstPurchaseOnly}
    assert states.count("credited") + bought == 1
    assert (await taken(pool), await shop.balance()) == (1, states.count("credited") * 25 * 10**9)


async def test_a_first_purchase_that_was_set_aside_and_is_let_count_has_its_own_coupon(shop, coupon, pool):
    order = await buy(shop, coupon(percent_off=50, first_purchase=True))
    await end(shop, order)
    await shop.receive(shop.event("payment_intent.succeeded", order, amount_received=1200))
    assert (await shop.reread(order)).state == "paid"
    await credit_anyway(pool, order.id, reason="near enough", by="operator:ada", four_eyes=False)
    assert (await taken(pool), await shop.balance()) == (1, 12 * 10**9)


async def test_of_first_purchases_at_once_with_different_coupons_one_is_the_first(shop, coupon, pool):
    coupons = [coupon(f"FIRST{number}", percent_off=50, first_purchase=True) for number in range(5)]
    # Connections for all of them, so that none is ahead because it need not open one.
    await asyncio.gather(*(pool.fetchval("select pg_sleep(0.1)") for _ in coupons))
    bought = [with_coupon(PLAIN, one) for one in coupons]
    done = await asyncio.gather(
        *(
            place(pool, shop.buyer, purchase, request_id=None, livemode=False, coupon=one)
            for purchase, one in zip(bought, coupons, strict=True)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(one, FirstPurchaseOnly) for one in done) == 4


async def test_free_credits_come_at_once_as_often_as_they_may_and_expire(shop, coupon, pool):
    welcome = coupon("WELCOME", free_credits=Decimal(5), free_days=30)
    moment = now()
    done = await asyncio.gather(
        *(redeem(pool, shop.buyer, welcome, now=moment) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, CouponUsedUp) for one in done) == 4
    lot = await pool.fetchrow("select kind, remaining, expires_at from lot")
    assert tuple(lot) == ("promotional", 5 * 10**9, moment + timedelta(days=30))
    assert (await shop.balance(), await taken(pool, "WELCOME")) == (5 * 10**9, 1)
    with pytest.raises(CouponNotFitting, match="/api/credits/purchase"):
        await redeem(pool, shop.buyer, coupon(percent_off=50), now=moment)


@pytest.mark.parametrize("each", [1, "unlimited"])
async def test_the_same_request_for_free_credits_gives_them_once(shop, coupon, pool, each):
    welcome = coupon("WELCOME", free_credits=Decimal(5), per_organization_max=each)
    moment = now()
    done = await asyncio.gather(
        *(redeem(pool, shop.buyer, welcome, request_id="click-1", now=moment) for _ in range(5))
    )
    assert len(set(map(repr, done))) == 1
    assert (await shop.balance(), await taken(pool, "WELCOME")) == (5 * 10**9, 1)


async def test_who_guesses_codes_is_stopped_and_who_knows_one_is_not_counted(shop, coupon, pool):
    known = Version(
        id=1, kind="coupon", name="HALF", effective_from=now() - timedelta(days=1), document=coupon(percent_off=50),
        source="file",
    )  # fmt: skip

    async def ask(code):
        book = Book([known])
        return await read_coupon(pool, lambda: book, code, shop.buyer.organization, address="203.0.113.9", now=now())

    for _ in range(30):
        assert (await ask(" half ")).code == "HALF"
    for number in range(20):
        with pytest.raises(UnknownCoupon):
            await ask(f"GUESS-{number}")
    with pytest.raises(RateLimited):
        await ask("HALF")
