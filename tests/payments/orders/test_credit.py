import pytest

from tallystick.ledger import read
from tallystick.payments.orders.order import Buyer
from tallystick.payments.orders.place import place
from tallystick.payments.orders.purchase_terms import Purchase

pytestmark = pytest.mark.usefixtures("books")


async def order_of(shop, **fields):
    given = {"amount_minor": 2500, "currency": "usd", "credits": 25 * 10**9} | fields
    return await place(shop.pool, shop.buyer, Purchase(**given), request_id=None, livemode=False)


async def posted(pool, kind):
    return await pool.fetchval("select sum(posted)::bigint from ledger_account where kind::text = $1", kind)


async def test_stripes_clearing_account_holds_the_money_and_the_gift_is_our_expense(shop, pool):
    order = await order_of(shop, credits=30 * 10**9)
    await shop.receive(shop.event("payment_intent.succeeded", order))
    assert await shop.balance() == 30 * 10**9
    assert (await posted(pool, "stripe_clearing"), await posted(pool, "promotional_expense")) == (
        -25 * 10**9,
        -5 * 10**9,
    )
    assert (await shop.reread(order)).paid_credits == 25 * 10**9
    async with pool.acquire() as connection:
        came = [(entry.kind, entry.amount) for entry in await read.history(connection, order.account, limit=10)]
        granted = await read.history(connection, order.account, limit=10, kinds=["grant"])
    assert came == [("grant", 5 * 10**9), ("purchase", 25 * 10**9)]
    assert [entry.amount for entry in granted] == [5 * 10**9]
    lot = await pool.fetchrow("select kind, amount, source from lot")
    assert tuple(lot) == ("purchased", 30 * 10**9, order.source), "one lot, of all of it"


async def test_what_the_version_before_credited_stays_sound(shop, pool):
    """It books all credits from Stripe's clearing account, and knows no other numbers."""
    order = await order_of(shop, credits=30 * 10**9)
    clearing = 4 * 64 + order.account % await pool.fetchval("select lanes from ledger_layout")
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetchrow(
            "select * from ledger_post($1, 'purchase', 'x', null, $2, $3, $4)",
            order.crediting, [clearing], [order.account], [order.credits],
        )  # fmt: skip
        await connection.execute(
            """insert into lot (id, account, operation, kind, amount, remaining, source)
            values ($1, $2, $1, 'purchased', $3, $3, $4)""",
            order.crediting, order.account, order.credits, order.source,
        )  # fmt: skip
        await connection.execute(
            """update payment_order set state = 'credited', stripe_payment_intent = $2, operation = $3,
            credited_at = clock_timestamp() where id = $1""",
            order.id, f"pi_{order.id}", order.crediting,
        )  # fmt: skip
    # And the events that came meanwhile to a worker of this version change nothing.
    await shop.receive(shop.event("payment_intent.succeeded", order))
    assert (await shop.events(), await shop.balance()) == ([("processed", None)], 30 * 10**9)


async def test_all_of_its_life_is_told_and_kept(shop, told, audited):
    order = await shop.order()
    await shop.receive(shop.event("payment_intent.payment_failed", order))
    for _ in range(2):
        await shop.receive(shop.event("payment_intent.succeeded", order))
    types = ["order.created", "order.awaiting_payment", "order.failed", "order.credited", "credits.purchased"]
    notices = await told()
    assert [type_ for type_, _ in notices] == types
    bought = notices[-1][1]
    assert (bought["order_id"], bought["credits"], bought["amount_minor"], bought["gift"]) == (order.id, 25, 2500, 0)
    buyer = shop.buyer.user_id
    assert await audited() == [
        ("order.created", buyer),
        ("order.awaiting_payment", buyer),
        ("order.failed", "stripe"),
        ("order.credited", "stripe"),
    ]


async def test_nothing_is_told_of_what_was_undone(shop, pool, told):
    order = await shop.order()
    before = await told()
    await pool.execute("alter table lot rename to away")
    await shop.receive(shop.event("payment_intent.succeeded", order))
    await pool.execute("alter table away rename to lot")
    assert (await told(), (await shop.reread(order)).state) == (before, "awaiting_payment")


async def test_what_does_not_fit_waits_for_a_person_and_credits_by_an_event_that_fits(shop, told):
    order = await shop.order()
    await shop.receive(shop.event("checkout.session.completed", order, amount_total=2499))
    aside = await shop.reread(order)
    assert (aside.state, aside.reason, aside.received_minor) == (
        "paid",
        "amount asked 2499 where the order has 2500",
        2499,
    )
    await shop.receive(shop.event("payment_intent.succeeded", order))
    after = await shop.reread(order)
    assert (after.state, after.reason, await shop.balance()) == ("credited", None, 25 * 10**9)
    assert [type_ for type_, _ in await told()][-3:] == ["order.paid", "order.credited", "credits.purchased"]


async def test_one_payment_is_set_aside_for_one_order_only(shop):
    first, second = await shop.order(), await shop.order()
    for order in (first, second):
        await shop.receive(shop.event("payment_intent.succeeded", order, id="pi_same", amount_received=1))
    assert [(await shop.reread(order)).state for order in (first, second)] == ["paid", "awaiting_payment"]


async def test_another_persons_order_says_nothing(shop, new_shop, pool):
    order, stranger = await shop.order(), await new_shop()
    buyer = Buyer(organization=stranger.buyer.organization, account=stranger.buyer.account, user_id="user_x")
    theirs = await place(
        pool, buyer, Purchase(amount_minor=2500, currency="usd", credits=25 * 10**9), request_id=None, livemode=False
    )
    await shop.receive(shop.event("payment_intent.succeeded", order, metadata={"order_id": theirs.id}))
    assert (await shop.reread(theirs)).state == "created"
    assert (await shop.events())[0][0] == "quarantined"
