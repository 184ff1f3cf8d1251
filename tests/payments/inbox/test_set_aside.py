"""Events that did not fit: tried again once they do, or dismissed by name."""

import pytest

from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.payments.inbox.set_aside import dismiss, retry, set_aside

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture
async def misfit(shop):
    """The event of a payment that came for an order of another amount."""
    order = await shop.order(2500)
    await shop.receive(shop.event("payment_intent.succeeded", order, amount=2400, amount_received=2400))
    assert [state for state, _ in await shop.events()] == ["quarantined"]
    return order


async def acts(pool):
    rows = await pool.fetch("select act, done_by, subject from audit_event where act like 'event.%' order by seq")
    return [tuple(row) for row in rows]


async def test_what_fits_by_now_is_done_and_done_once(shop, pool, misfit):
    [waiting] = await set_aside(pool)
    assert (waiting.state, "amount" in waiting.reason) == ("quarantined", True)
    again = await retry(pool, shop.inbox, waiting.id, by="operator:ada")
    assert (again.state, await shop.balance()) == ("quarantined", 0)
    await pool.execute("update payment_order set amount_minor = 2400, credits = 24000000000 where id = $1", misfit.id)
    assert (await retry(pool, shop.inbox, waiting.id, by="operator:ada")).state == "processed"
    assert (await shop.balance(), await set_aside(pool)) == (24 * 10**9, [])
    with pytest.raises(Conflict, match="processed already"):
        await retry(pool, shop.inbox, waiting.id, by="operator:ada")
    assert await acts(pool) == [("event.retried", "operator:ada", waiting.id)] * 2


async def test_what_was_seen_to_otherwise_is_dismissed_with_a_reason(shop, pool, misfit):
    [waiting] = await set_aside(pool)
    with pytest.raises(InvalidInput):
        await dismiss(pool, waiting.id, reason=" ", by="operator:ada")
    await dismiss(pool, waiting.id, reason="given back at Stripe", by="operator:ada")
    assert await shop.events() == [("ignored", "dismissed by operator:ada: given back at Stripe")]
    assert (await set_aside(pool), await shop.balance()) == ([], 0)
    for act in (dismiss(pool, waiting.id, reason="x", by="b"), retry(pool, shop.inbox, waiting.id, by="b")):
        with pytest.raises(Conflict):
            await act
    assert await acts(pool) == [("event.dismissed", "operator:ada", waiting.id)]
    with pytest.raises(NotFound):
        await dismiss(pool, "evt_none", reason="x", by="b")
