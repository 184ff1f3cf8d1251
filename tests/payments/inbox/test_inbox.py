import asyncio
import itertools
import json
import time

import asyncpg
import pytest
from prometheus_client import REGISTRY

from tallystick.payments.errors import BadWebhook, WebhookClosed
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.stripe.signature import sign

SECRET = "whsec_of_the_tests"
PAID = ["payment_intent.succeeded", "checkout.session.completed", "checkout.session.async_payment_succeeded"]
CREDITED = 25 * 10**9

pytestmark = pytest.mark.usefixtures("books")


@pytest.mark.parametrize("types", list(itertools.permutations(PAID)))
async def test_one_payment_credits_once_in_every_order_of_its_events_each_sent_twice(shop, types):
    order = await shop.order()
    bodies = [shop.event(type_, order) for type_ in types]
    for body in [bodies[0], *bodies, *bodies]:
        await shop.receive(body)
    assert await shop.balance() == CREDITED
    assert await shop.events() == [("processed", None)] * 3
    credited = await shop.reread(order)
    assert (credited.state, credited.stripe_payment_intent) == ("credited", f"pi_{order.id}")


async def test_fifty_of_each_at_once_credit_once(shop):
    order = await shop.order()
    bodies = [shop.event(type_, order) for type_ in PAID] * 50
    await asyncio.gather(*(shop.receive(body) for body in bodies))
    assert await shop.balance() == CREDITED
    assert await shop.events() == [("processed", None)] * 3


async def test_two_orders_are_two_credits(shop):
    for amount_minor in (500, 10_000):
        await shop.receive(shop.event("payment_intent.succeeded", await shop.order(amount_minor)))
    assert await shop.balance() == 105 * 10**9


async def test_a_lot_of_purchased_credits_stands_for_the_payment(shop, pool):
    order = await shop.order()
    await shop.receive(shop.event("payment_intent.succeeded", order))
    lot = await pool.fetchrow("select kind, amount, remaining, expires_at, source from lot")
    assert tuple(lot) == ("purchased", CREDITED, CREDITED, None, f"order:{order.id}")


async def test_completed_without_the_money_waits_for_it(shop):
    order = await shop.order()
    await shop.receive(shop.event("checkout.session.completed", order, payment_status="unpaid"))
    assert (await shop.balance(), (await shop.reread(order)).state) == (0, "awaiting_payment")
    await shop.receive(shop.event("checkout.session.async_payment_succeeded", order))
    assert await shop.balance() == CREDITED


@pytest.mark.parametrize(
    ("type_", "state"),
    [
        ("checkout.session.expired", "expired"),
        ("checkout.session.async_payment_failed", "failed"),
        ("payment_intent.payment_failed", "failed"),
    ],
)
async def test_an_unpaid_order_says_so_until_money_comes_and_never_after(shop, type_, state):
    order = await shop.order()
    await shop.receive(shop.event(type_, order, payment_status="unpaid"))
    assert (await shop.reread(order)).state == state
    await shop.receive(shop.event("payment_intent.succeeded", order))
    await shop.receive(shop.event(type_, order, payment_status="unpaid"))
    assert ((await shop.reread(order)).state, await shop.balance()) == ("credited", CREDITED)


@pytest.mark.parametrize(
    ("type_", "changed", "reason"),
    [
        ("payment_intent.succeeded", {"amount": 250_000, "amount_received": 250_000}, "amount asked 250000"),
        ("payment_intent.succeeded", {"amount_received": 1}, "amount received 1"),
        ("payment_intent.succeeded", {"currency": "jpy"}, "currency jpy"),
        ("payment_intent.succeeded", {"customer": "cus_other"}, "customer cus_other"),
        ("payment_intent.succeeded", {"customer": None}, "customer None"),
        ("checkout.session.completed", {"amount_total": None}, "amount asked None"),
        ("checkout.session.completed", {"amount_total": 2499}, "amount asked 2499"),
        ("checkout.session.completed", {"currency": "eur"}, "currency eur"),
        ("checkout.session.completed", {"id": "cs_other"}, "session cs_other"),
        ("checkout.session.completed", {"payment_intent": None}, "paid without naming a payment"),
        ("payment_intent.succeeded", {"amount": "2500"}, "not a payment_intent.succeeded"),
        ("payment_intent.succeeded", {"amount": 2500.0001}, "not a payment_intent.succeeded"),
        ("payment_intent.succeeded", {"metadata": {"order_id": "ord_unknown"}}, "there is no order ord_unknown"),
        ("payment_intent.succeeded", {"metadata": {"order_id": "ord_\x00'; drop table lot"}}, "there is no order"),
        ("payment_intent.succeeded", {"metadata": {"user_id": "user_abc123"}}, "it names no order"),
    ],
)
async def test_what_does_not_match_its_order_is_set_aside(shop, type_, changed, reason):
    order = await shop.order()
    before = REGISTRY.get_sample_value("tallystick_webhook_quarantined_total")
    await shop.receive(shop.event(type_, order, **changed))
    [(state, told)] = await shop.events()
    assert state == "quarantined"
    assert reason in told
    # Money for this very order that does not fit it is known to be there; of what is another's nothing is known.
    known = reason.startswith(("amount", "currency", "session"))
    after = await shop.reread(order)
    assert (await shop.balance(), after.state) == (0, "paid" if known else "awaiting_payment")
    assert (after.reason is not None, after.stripe_payment_intent is not None) == (known, known)
    assert REGISTRY.get_sample_value("tallystick_webhook_quarantined_total") == before + 1
    await shop.receive(shop.event("payment_intent.succeeded", order))
    assert await shop.balance() == CREDITED, "the true event still counts"


@pytest.mark.parametrize("field", ["organization", "user_id"])
async def test_a_payment_that_names_someone_else_is_set_aside(shop, new_shop, field):
    order, stranger = await shop.order(), await new_shop()
    metadata = {"order_id": order.id, "organization": order.organization, "user_id": order.created_by}
    metadata[field] = stranger.buyer.organization
    await shop.receive(shop.event("payment_intent.succeeded", order, metadata=metadata))
    assert (await shop.balance(), await stranger.balance()) == (0, 0)
    assert (await shop.events())[0][0] == "quarantined"


async def test_a_second_payment_of_one_order_is_set_aside(shop):
    order = await shop.order()
    await shop.receive(shop.event("payment_intent.succeeded", order))
    await shop.receive(shop.event("payment_intent.succeeded", order, id="pi_second"))
    assert (await shop.events())[1] == (
        "quarantined",
        f"paid by pi_second after it was credited for pi_{order.id}",
    )
    assert await shop.balance() == CREDITED


async def test_one_payment_does_not_credit_two_orders(shop):
    first, second = await shop.order(), await shop.order()
    await shop.receive(shop.event("payment_intent.succeeded", first))
    await shop.receive(shop.event("payment_intent.succeeded", second, id=f"pi_{first.id}"))
    state, reason = (await shop.events())[1]
    assert (state, "books refuse" in reason) == ("quarantined", True)
    assert (await shop.balance(), (await shop.reread(second)).state) == (CREDITED, "awaiting_payment")


@pytest.mark.parametrize("event", [{"livemode": True}, {"account": "acct_connected"}])
async def test_an_event_of_another_mode_or_account_moves_nothing(shop, event):
    order = await shop.order()
    await shop.receive(shop.event("payment_intent.succeeded", order, event=event))
    assert ((await shop.events())[0][0], await shop.balance()) == ("quarantined", 0)


async def test_a_test_event_moves_nothing_on_a_live_server(new_shop):
    live = await new_shop(livemode=True)
    order = await live.order(livemode=False)
    await live.receive(live.event("payment_intent.succeeded", order))
    assert ((await live.events())[0][0], await live.balance()) == ("quarantined", 0)


async def test_a_test_event_moves_nothing_for_a_live_order(new_shop):
    unsure = await new_shop(livemode=None)
    order = await unsure.order(livemode=True)
    await unsure.receive(unsure.event("payment_intent.succeeded", order))
    assert (await unsure.events())[0] == ("quarantined", "event of test mode for an order of live mode")


@pytest.mark.parametrize("type_", ["customer.created", "charge.succeeded", "invoice.upcoming"])
async def test_other_events_are_kept_and_left_alone(shop, type_):
    await shop.receive(shop.event(type_, await shop.order()))
    assert (await shop.events(), await shop.balance()) == ([("ignored", None)], 0)


async def test_what_else_the_stripe_account_sells_is_left_alone(shop):
    order = await shop.order()
    await shop.receive(shop.event("payment_intent.succeeded", order, metadata={"shirt": "XL"}))
    await shop.receive(shop.event("checkout.session.completed", order, mode="setup"))
    assert [state for state, _ in await shop.events()] == ["ignored", "ignored"]


def _altered(body):
    return body.replace(b"2500", b"9900")


@pytest.mark.parametrize(
    ("sent", "signature"),
    [
        pytest.param(bytes, lambda _body: None, id="no signature"),
        pytest.param(bytes, lambda _body: "", id="empty"),
        pytest.param(bytes, lambda _body: "v1=abc", id="not Stripe's form"),
        pytest.param(bytes, lambda _body: f"t={int(time.time())},v1=\xe9", id="beyond ASCII"),
        pytest.param(bytes, lambda body: sign(body, "whsec_other"), id="another secret"),
        pytest.param(bytes, lambda body: sign(body, SECRET, at=time.time() - 301), id="too old"),
        pytest.param(
            lambda body: json.dumps(json.loads(body)).encode(), lambda body: sign(body, SECRET), id="written anew"
        ),
        pytest.param(_altered, lambda body: sign(body, SECRET), id="changed"),
        pytest.param(lambda _body: b"\xff\xfe", lambda body: sign(body, SECRET), id="not UTF-8"),
        pytest.param(lambda _body: b"[]", lambda _body: sign(b"[]", SECRET), id="no event"),
        pytest.param(lambda _body: b'{"type": "x"}', lambda _body: sign(b'{"type": "x"}', SECRET), id="no id"),
    ],
)
async def test_forged_old_and_changed_bodies_are_refused_and_not_kept(shop, sent, signature):
    body = shop.event("payment_intent.succeeded", await shop.order())
    with pytest.raises(BadWebhook):
        await shop.inbox.receive(sent(body), signature(body))
    assert (await shop.events(), await shop.balance()) == ([], 0)


async def test_no_secret_closes_the_endpoint(shop, pool):
    closed = Inbox(pool, secrets=(), livemode=False)
    body = shop.event("payment_intent.succeeded", await shop.order())
    with pytest.raises(WebhookClosed):
        await closed.receive(body, sign(body, ""))
    assert await shop.events() == []


async def test_while_a_secret_is_replaced_both_are_accepted(shop, pool):
    rotating = Inbox(pool, secrets=("whsec_new", SECRET), livemode=False)
    for secret in ("whsec_new", SECRET):
        body = shop.event("payment_intent.succeeded", await shop.order())
        await rotating.receive(body, sign(body, secret))
    assert await shop.balance() == 2 * CREDITED


async def test_an_event_that_could_not_be_processed_is_kept_and_processed_later(shop, pool):
    order = await shop.order()
    await pool.execute("alter table payment_order rename to payment_order_away")
    await shop.receive(shop.event("payment_intent.succeeded", order))
    assert await shop.events() == [("received", None)]
    await pool.execute("alter table payment_order_away rename to payment_order")
    assert await shop.inbox.process_open() == 0, "not before its time to try again"
    await pool.execute("update stripe_event set retry_at = clock_timestamp()")
    assert await shop.inbox.process_open() == 1
    assert await shop.balance() == CREDITED


async def test_one_that_always_fails_keeps_no_other_waiting(shop, pool):
    broken, sound = await shop.order(), await shop.order()
    await pool.execute(
        f"""create function fail() returns trigger language plpgsql as $$
            begin if new.id = '{broken.id}' then raise exception 'broken'; end if; return new; end $$;
            create trigger fail before update on payment_order for each row execute function fail()"""
    )
    await shop.receive(shop.event("payment_intent.succeeded", broken))
    await shop.receive(shop.event("payment_intent.succeeded", sound))
    await pool.execute("update stripe_event set retry_at = clock_timestamp()")
    await shop.inbox.process_open()
    row = await pool.fetchrow(
        "select attempts, retry_at > clock_timestamp() as later from stripe_event where state = 'received'"
    )
    assert tuple(row) == (2, True)
    assert await shop.balance() == CREDITED
    await pool.execute("drop trigger fail on payment_order")


async def test_when_the_event_cannot_be_stored_stripe_is_not_told_that_it_was(shop, pool):
    body = shop.event("payment_intent.succeeded", await shop.order())
    await pool.execute("alter table stripe_event rename to away")
    with pytest.raises(asyncpg.UndefinedTableError):
        await shop.receive(body)
    await pool.execute("alter table away rename to stripe_event")
    await shop.receive(body)
    assert await shop.balance() == CREDITED


async def test_a_payment_seen_before_its_session_was_stored_still_counts(shop, pool):
    order = await shop.order()
    await pool.execute(
        "update payment_order set state = 'created', stripe_session = null, checkout_url = null where id = $1", order.id
    )
    await shop.receive(shop.event("checkout.session.completed", order))
    assert await shop.balance() == CREDITED
