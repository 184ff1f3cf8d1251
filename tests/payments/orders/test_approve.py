import asyncio

import pytest

from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.payments.orders.approve import AlreadyCredited, AnotherOperator, approve, credit_anyway, reject
from tallystick.payments.orders.end_unpaid import expire_unpaid
from tallystick.payments.orders.order import Buyer
from tallystick.payments.orders.place import place
from tallystick.payments.orders.purchase_terms import Purchase

pytestmark = pytest.mark.usefixtures("books")
ADA, BOB = "operator:ada", "operator:bob"


@pytest.fixture
def order_by_hand(shop, pool):
    async def make(by=None, **fields):
        given = {"amount_minor": 250_000, "currency": "usd", "credits": 2_500 * 10**9} | fields
        buyer = Buyer(
            organization=shop.buyer.organization, account=shop.buyer.account, user_id=by or shop.buyer.user_id
        )
        return await place(
            pool, buyer, Purchase(**given), request_id=None, livemode=True, kind="manual", reference="PO 4711"
        )

    return make


async def posted(pool):
    rows = await pool.fetch(
        "select kind::text, sum(posted)::bigint as posted from ledger_account group by kind having sum(posted) <> 0"
    )
    return {row["kind"]: row["posted"] // 10**9 for row in rows}


async def test_nothing_is_credited_before_it_is_approved(shop, pool, order_by_hand, told, audited):
    order = await order_by_hand()
    assert (order.state, order.reference, await shop.balance()) == ("awaiting_payment", "PO 4711", 0)
    after = await approve(pool, order.id, proof="statement 12, line 3", by=ADA, four_eyes=False)
    assert (after.state, after.approved_by, after.proof) == ("credited", ADA, "statement 12, line 3")
    assert await posted(pool) == {"customer": 2_500, "bank": -2_500}, "manual clearing is passed through"
    assert [type_ for type_, _ in await told()][-2:] == ["order.credited", "credits.purchased"]
    assert (await audited())[-1] == ("order.credited", ADA)


async def test_its_bonus_is_our_expense(pool, order_by_hand):
    order = await order_by_hand(credits=3_000 * 10**9)
    await approve(pool, order.id, proof="seen", by=ADA, four_eyes=False)
    assert await posted(pool) == {"customer": 3_000, "bank": -2_500, "promotional_expense": -500}


async def test_of_two_who_approve_at_once_one_wins_and_the_others_are_told_of_them(shop, pool, order_by_hand):
    order = await order_by_hand()
    who = [f"operator:n{number}" for number in range(8)]
    done = await asyncio.gather(
        *(approve(pool, order.id, proof="seen", by=by, four_eyes=False) for by in who), return_exceptions=True
    )
    [won] = [one for one in done if not isinstance(one, Exception)]
    lost = [one for one in done if isinstance(one, AlreadyCredited)]
    assert len(lost) == 7
    assert all(won.approved_by in str(one) for one in lost)
    assert await shop.balance() == 2_500 * 10**9


async def test_of_approving_and_rejecting_at_once_one_wins(shop, pool, order_by_hand):
    for _ in range(5):
        order = await order_by_hand()
        before = await shop.balance()
        done = await asyncio.gather(
            approve(pool, order.id, proof="seen", by=ADA, four_eyes=False),
            reject(pool, order.id, reason="never came", by=BOB),
            return_exceptions=True,
        )
        assert sum(isinstance(one, Conflict) for one in done) == 1
        state = (await shop.reread(order)).state
        assert (state, await shop.balance() - before) in {("credited", 2_500 * 10**9), ("failed", 0)}


async def test_with_four_eyes_a_customers_order_needs_two_operators(shop, pool, order_by_hand, audited):
    order = await order_by_hand()
    first = await approve(pool, order.id, proof="statement 12", by=ADA, four_eyes=True)
    assert (first.state, first.first_approved_by, await shop.balance()) == ("awaiting_payment", ADA, 0)
    with pytest.raises(AnotherOperator, match="approved"):
        await approve(pool, order.id, proof="again", by=ADA, four_eyes=True)
    after = await approve(pool, order.id, proof="seen, too", by=BOB, four_eyes=True)
    assert (after.approved_by, after.first_approved_by, after.proof) == (BOB, ADA, "statement 12; seen, too")
    assert ("order.first_approved", ADA) in await audited()


async def test_with_four_eyes_two_first_ones_at_once_are_the_two(shop, pool, order_by_hand):
    order = await order_by_hand()
    await asyncio.gather(*(approve(pool, order.id, proof="seen", by=by, four_eyes=True) for by in (ADA, BOB)))
    after = await shop.reread(order)
    assert {after.first_approved_by, after.approved_by} == {ADA, BOB}


async def test_with_four_eyes_who_made_it_cannot_release_it(pool, order_by_hand):
    order = await order_by_hand(by=ADA)
    with pytest.raises(AnotherOperator, match="made"):
        await approve(pool, order.id, proof="seen", by=ADA, four_eyes=True)
    assert (await approve(pool, order.id, proof="seen", by=BOB, four_eyes=True)).state == "credited"


async def test_what_was_rejected_is_over_and_says_why(shop, pool, order_by_hand):
    order = await order_by_hand()
    after = await reject(pool, order.id, reason="no such contract", by=BOB)
    assert (after.state, after.reason, after.rejected_by) == ("failed", "rejected: no such contract", BOB)
    with pytest.raises(Conflict, match=r"rejected: no such contract \(operator:bob\)"):
        await approve(pool, order.id, proof="seen", by=ADA, four_eyes=False)
    with pytest.raises(Conflict, match="already"):
        await reject(pool, order.id, reason="again", by=ADA)
    assert await shop.balance() == 0


async def test_what_nobody_paid_for_a_month_expires_and_counts_if_the_money_comes_after_all(shop, pool, order_by_hand):
    order = await order_by_hand()
    assert await expire_unpaid(pool) == 0
    await pool.execute("update payment_order set created_at = created_at - interval '31 days'")
    assert await expire_unpaid(pool) == 1
    assert (await shop.reread(order)).state == "expired"
    assert (await approve(pool, order.id, proof="late", by=ADA, four_eyes=False)).state == "credited"


@pytest.mark.parametrize("proof", ["", "  ", "x" * 501, "a\x00b"])
async def test_a_proof_says_something(pool, order_by_hand, proof):
    order = await order_by_hand()
    with pytest.raises(InvalidInput):
        await approve(pool, order.id, proof=proof, by=ADA, four_eyes=False)


async def test_only_what_is_settled_by_hand_is_approved(shop, pool):
    order = await shop.order()
    with pytest.raises(Conflict, match="payment provider"):
        await approve(pool, order.id, proof="seen", by=ADA, four_eyes=False)
    with pytest.raises(Conflict, match="payment provider"):
        await reject(pool, order.id, reason="no", by=ADA)
    with pytest.raises(Conflict, match="only one that is paid"):
        await credit_anyway(pool, order.id, reason="no", by=ADA, four_eyes=False)
    with pytest.raises(NotFound):
        await approve(pool, "ord_none", proof="seen", by=ADA, four_eyes=False)


async def test_money_that_did_not_fit_is_credited_by_what_came(shop, pool, audited):
    order = await shop.order()
    body = shop.event("payment_intent.succeeded", order, amount=2500, amount_received=2000)
    await shop.receive(body)
    with pytest.raises(AnotherOperator):
        for _ in range(2):
            await credit_anyway(pool, order.id, reason="paid less", by=ADA, four_eyes=True)
    after = await credit_anyway(pool, order.id, reason="paid less", by=BOB, four_eyes=True)
    assert (after.state, after.amount_minor, after.credits) == ("credited", 2000, 20 * 10**9)
    assert await posted(pool) == {"customer": 20, "stripe_clearing": -20}
    assert await audited() != []
    with pytest.raises(AlreadyCredited, match="approved by operator:bob"):
        await credit_anyway(pool, order.id, reason="again", by=ADA, four_eyes=False)


async def test_money_of_another_currency_has_no_value_here(shop, pool):
    order = await shop.order()
    await shop.receive(shop.event("payment_intent.succeeded", order, currency="eur"))
    with pytest.raises(Conflict, match="refund it"):
        await credit_anyway(pool, order.id, reason="why not", by=ADA, four_eyes=False)
    assert await shop.balance() == 0
