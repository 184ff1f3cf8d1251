"""Notices reach the webhooks that want them: signed, again where they were not taken, once at a time."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tallystick.accounts import organization, user
from tallystick.base.errors import Conflict
from tallystick.base.sealed import Sealer
from tallystick.notices import delivery, endpoint
from tallystick.notices.backoff import DELAYS
from tallystick.notices.delivery import match_notices
from tallystick.notices.emit import emit
from tallystick.notices.endpoint import NewEndpoint
from tallystick.notices.fence import Fence
from tallystick.notices.send import Sender
from tests.notices.receiver import Receiver, receiver
from tests.patience import PATIENCE_S

New = Callable[..., Awaitable[NewEndpoint]]
Deliver = Callable[[], Awaitable[int]]


async def make_due(connection: asyncpg.Connection, by: str = "1 day") -> None:
    """As if that much time had passed."""
    await connection.execute("update webhook_delivery set due_at = due_at - $1::text::interval", by)


async def state_of(connection: asyncpg.Connection) -> list[tuple[str, int]]:
    rows = await connection.fetch("select state, attempts from webhook_delivery order by notice, endpoint")
    return [tuple(row) for row in rows]


async def test_a_notice_arrives_signed_and_another_implementation_verifies_it(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    made = await new_endpoint(types=("order.*",))
    await emit(connection, org, "order.credited", {"order": "ord_1", "amount_minor": 2500, "name": "Zoë"})
    assert await deliver() == 1
    (got,) = shop_hook.received
    verified = Webhook(made.secret).verify(got.body, got.headers)
    assert verified["type"] == "order.credited"
    assert verified["data"] == {"order": "ord_1", "amount_minor": 2500, "name": "Zoë"}
    notice = await connection.fetchrow("select id, at from notice")
    assert got.headers["webhook-id"] == notice["id"]
    assert datetime.fromisoformat(verified["timestamp"]) == notice["at"]
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    with pytest.raises(WebhookVerificationError):
        Webhook(made.secret).verify(got.body + b" ", got.headers)
    assert await state_of(connection) == [("delivered", 1)]
    assert await deliver() == 0
    assert len(shop_hook.received) == 1


async def test_credits_are_numbers_to_the_last_digit(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    await new_endpoint()
    await emit(connection, org, "balance.low", {"balance": Decimal("4.250000001")})
    await deliver()
    assert b'"balance":4.250000001' in shop_hook.received[0].body.replace(b" ", b"")


async def test_each_gets_what_it_chose_of_its_own_organization(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    other = (await organization.create(connection, name="Eve")).id
    await emit(connection, org, "order.created", {})
    await new_endpoint(shop_hook.url("/orders"), ("order.*", "order.paid"))
    await new_endpoint(shop_hook.url("/quota"), ("quota.exceeded",))
    await new_endpoint(shop_hook.url("/all"), ("*",))
    await new_endpoint(shop_hook.url("/eve"), ("*",), of=other)
    for kind in ("order.paid", "quota.exceeded", "invoice.paid"):
        await emit(connection, org, kind, {})
    await deliver()
    got = sorted((r.path, json.loads(r.body)["type"]) for r in shop_hook.received)
    assert got == [
        ("/all", "invoice.paid"), ("/all", "order.paid"), ("/all", "quota.exceeded"), ("/orders", "order.paid"),
        ("/quota", "quota.exceeded"),
    ]  # fmt: skip


async def test_what_was_undone_is_not_told(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    await new_endpoint()
    transaction = connection.transaction()
    await transaction.start()
    await emit(connection, org, "order.paid", {})
    await transaction.rollback()
    assert await deliver() == 0


async def test_a_notice_that_commits_late_is_told(
    pool: asyncpg.Pool,
    connection: asyncpg.Connection,
    org: str,
    shop_hook: Receiver,
    new_endpoint: New,
    deliver: Deliver,
) -> None:
    await new_endpoint()
    async with pool.acquire() as other:
        async with other.transaction():
            await emit(other, org, "order.created", {})
            await emit(connection, org, "order.paid", {})
            assert await deliver() == 1
        assert await deliver() == 1
    assert [json.loads(r.body)["type"] for r in shop_hook.received] == ["order.paid", "order.created"]


async def test_what_is_not_taken_comes_again_as_the_same_message_until_it_failed(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    made = await new_endpoint()
    await emit(connection, org, "order.paid", {"order": "ord_1"})
    shop_hook.answers = [(500, {}, "broken")] * (len(DELAYS) + 1)
    for attempt, delay in enumerate(DELAYS, 1):
        assert await deliver() == 1
        assert await state_of(connection) == [("waiting", attempt)]
        assert await deliver() == 0
        due_in = await connection.fetchval("select due_at - clock_timestamp() from webhook_delivery")
        assert delay - timedelta(seconds=5) < due_in <= delay * 6 / 5
        await make_due(connection, "2 days")
    assert await deliver() == 1
    assert await state_of(connection) == [("failed", len(DELAYS) + 1)]
    await make_due(connection, "10 days")
    assert await deliver() == 0
    assert len({(r.headers["webhook-id"], r.body) for r in shop_hook.received}) == 1
    for got in shop_hook.received:
        Webhook(made.secret).verify(got.body, got.headers)
    (told,) = await delivery.of_endpoint(connection, org, made.endpoint.id)
    assert [(a.status, a.answer) for a in told.log] == [(500, "broken")] * (len(DELAYS) + 1)


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [(302, {"location": "http://127.0.0.1:1/elsewhere"}, ""), (404, {}, "nothing here"), (503, {}, "x" * 200)],
)
async def test_whatever_is_no_success_is_none(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver,
    status: int, headers: dict[str, str], told: str,
) -> None:  # fmt: skip
    made = await new_endpoint()
    await emit(connection, org, "order.paid", {})
    shop_hook.answers = [(status, headers, told * 5 if told.startswith("x") else told)]
    await deliver()
    (sent,) = await delivery.of_endpoint(connection, org, made.endpoint.id)
    assert (sent.state, sent.log[0].status, sent.log[0].answer) == ("waiting", status, told)
    assert len(shop_hook.received) == 1


async def test_retry_after_is_waited_for(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    await new_endpoint()
    await emit(connection, org, "order.paid", {})
    shop_hook.answers = [(429, {"retry-after": "3600"}, "")]
    await deliver()
    due_in = await connection.fetchval("select due_at - clock_timestamp() from webhook_delivery")
    assert timedelta(minutes=59) < due_in <= timedelta(hours=1)


async def test_an_endpoint_that_does_not_answer_costs_its_time_and_no_more(
    pool: asyncpg.Pool, connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, sealer: Sealer
) -> None:
    made = await new_endpoint()
    gone = await new_endpoint("http://127.0.0.1:1/nobody")
    await emit(connection, org, "order.paid", {})
    shop_hook.waits.clear()
    impatient = Sender(pool, sealer, Fence(loopback=True), timeout_s=1)
    await match_notices(pool)
    await impatient.send_due()
    await impatient.finish()
    await impatient.stop()
    (slow,) = await delivery.of_endpoint(connection, org, made.endpoint.id)
    (lost,) = await delivery.of_endpoint(connection, org, gone.endpoint.id)
    assert (slow.state, slow.log[0].status, slow.log[0].answer) == ("waiting", None, "No answer within 1 seconds.")
    assert (lost.state, lost.log[0].status) == ("waiting", None)
    assert lost.log[0].answer == "No answer: it cannot be connected to."


async def test_a_slow_endpoint_does_not_hold_up_the_others(
    pool: asyncpg.Pool, connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, sealer: Sealer
) -> None:
    sender = Sender(pool, sealer, Fence(loopback=True), timeout_s=30)
    async with receiver() as slow:
        slow.waits.clear()
        await new_endpoint(slow.url())
        await new_endpoint()
        for _ in range(20):
            await emit(connection, org, "order.paid", {})
        await match_notices(pool)
        async with asyncio.timeout(PATIENCE_S):
            while len(shop_hook.received) < 20:
                await sender.send_due()
        assert len(slow.received) == 5
        slow.waits.set()
        while await sender.send_due():
            await sender.finish()
    assert await connection.fetchval("select count(*) from webhook_delivery where state = 'delivered'") == 40


async def test_410_disables_at_once_and_tells_who_pays(
    pool: asyncpg.Pool, connection: asyncpg.Connection, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    ada = await user.sign_up(pool, email="ada@example.com", password="correct horse battery")
    org = ada.organization_id
    made = await new_endpoint(shop_hook.url("/hooks?token=s3cret"), of=org)
    await emit(connection, org, "order.paid", {})
    await emit(connection, org, "order.credited", {})
    shop_hook.answers = [(410, {}, ""), (500, {}, "")]
    await deliver()
    found = await endpoint.find(connection, org, made.endpoint.id)
    assert (found.enabled, found.disabled_reason) == (False, "It answered 410 Gone.")
    assert {state for state, _ in await state_of(connection)} == {"failed"}
    (mail,) = await connection.fetch("select recipient, body from mail")
    assert mail["recipient"] == "ada@example.com"
    assert made.endpoint.id in mail["body"]
    (act,) = await connection.fetch("select done_by, after from audit_event where act = 'webhook.disabled'")
    assert (act["done_by"], json.loads(act["after"])["enabled"]) == ("clock", False)
    for text in (mail["body"], act["after"]):
        assert "s3cret" not in text
    await emit(connection, org, "order.paid", {})
    assert await deliver() == 0


async def test_days_of_failure_disable_and_one_success_forgives_all(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    made = await new_endpoint()

    async def told(answer: int, days_pass: int) -> endpoint.Endpoint:
        shop_hook.answers = [(answer, {}, "")]
        await emit(connection, org, "order.paid", {})
        await deliver()
        shift = f"{days_pass} days"
        await connection.execute(
            "update webhook_endpoint set failing_since = failing_since - $1::text::interval", shift
        )
        return await endpoint.find(connection, org, made.endpoint.id)

    assert (await told(500, 4)).failing_since is not None
    assert (await told(204, 4)).failing_since is None
    assert (await told(500, 4)).enabled
    assert (await told(500, 2)).enabled
    found = await told(500, 0)
    assert (found.enabled, found.disabled_reason) == (False, "Every attempt of the last 5 days failed.")
    again = await endpoint.change(connection, org, made.endpoint.id, {"enabled": True}, by="user_ada")
    assert (again.enabled, again.disabled_reason, again.failing_since) == (True, None, None)


async def test_two_senders_never_send_one_message_at_once(
    pool: asyncpg.Pool, connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, sealer: Sealer
) -> None:
    for _ in range(4):
        await new_endpoint()
    for _ in range(25):
        await emit(connection, org, "order.paid", {})
    senders = [Sender(pool, sealer, Fence(loopback=True), timeout_s=30) for _ in range(3)]
    await asyncio.gather(*(match_notices(pool) for _ in range(3)))
    await asyncio.gather(*(sender.send_due() for sender in senders))
    for sender in senders:
        await sender.finish()
    assert len(shop_hook.received) == 100
    assert await state_of(connection) == [("delivered", 1)] * 100


async def test_what_a_dead_sender_had_taken_is_sent_when_its_minute_is_over(
    pool: asyncpg.Pool, connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New,
    sealer: Sealer, deliver: Deliver,
) -> None:  # fmt: skip
    await new_endpoint()
    await emit(connection, org, "order.paid", {})
    shop_hook.waits.clear()
    dying = Sender(pool, sealer, Fence(loopback=True), timeout_s=30)
    await match_notices(pool)
    assert await dying.send_due() == 1
    await dying.stop()
    shop_hook.waits.set()
    assert await deliver() == 0
    await make_due(connection, "1 minute")
    assert await deliver() == 1
    assert await state_of(connection) == [("delivered", 1)]


async def test_an_attempt_that_was_taken_for_lost_changes_nothing_when_it_ends(
    pool: asyncpg.Pool, connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New,
    sealer: Sealer, deliver: Deliver,
) -> None:  # fmt: skip
    await new_endpoint()
    await emit(connection, org, "order.paid", {})
    shop_hook.waits.clear()
    slow = Sender(pool, sealer, Fence(loopback=True), timeout_s=30)
    await match_notices(pool)
    await slow.send_due()
    while not shop_hook.received:
        await asyncio.sleep(0.01)
    await make_due(connection, "1 minute")
    late, shop_hook.waits = shop_hook.waits, asyncio.Event()
    shop_hook.waits.set()
    assert await deliver() == 1
    shop_hook.answers = [(500, {}, "")]
    late.set()
    await slow.finish()
    assert await state_of(connection) == [("delivered", 1)]
    assert await connection.fetchval("select count(*) from webhook_attempt") == 2


async def test_both_secrets_sign_while_a_rotation_overlaps(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver, sealer: Sealer
) -> None:
    old = await new_endpoint()
    new = await endpoint.rotate(connection, sealer, org, old.endpoint.id, overlap=timedelta(hours=24), by="user_ada")
    await emit(connection, org, "order.paid", {})
    await deliver()
    for secret in (old.secret, new.secret):
        Webhook(secret).verify(shop_hook.received[0].body, shop_hook.received[0].headers)
    await connection.execute("update webhook_endpoint set previous_until = clock_timestamp()")
    await emit(connection, org, "order.paid", {})
    await deliver()
    Webhook(new.secret).verify(shop_hook.received[1].body, shop_hook.received[1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old.secret).verify(shop_hook.received[1].body, shop_hook.received[1].headers)


async def test_a_dump_of_the_database_signs_nothing(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    made = await new_endpoint()
    other = await new_endpoint()
    await emit(connection, org, "order.paid", {})
    await deliver()
    rows = await connection.fetch(
        "select e::text as text from webhook_endpoint e union all select a::text from audit_event a"
    )
    for row in rows:
        for new in (made, other):
            assert new.secret.removeprefix("whsec_") not in row["text"]
    # A sealed secret that was moved to another row opens nothing there, and nothing is sent.
    await connection.execute(
        "update webhook_endpoint set sealed = (select sealed from webhook_endpoint where id = $1) where id = $2",
        made.endpoint.id, other.endpoint.id,
    )  # fmt: skip
    shop_hook.received.clear()
    await emit(connection, org, "order.paid", {})
    await deliver()
    assert len(shop_hook.received) == 1
    Webhook(made.secret).verify(shop_hook.received[0].body, shop_hook.received[0].headers)


async def test_one_message_is_replayed_and_all_since_a_time(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    await emit(connection, org, "order.created", {})
    made = await new_endpoint(types=("order.*",))
    await emit(connection, org, "order.paid", {})
    await emit(connection, org, "quota.exceeded", {})
    await deliver()
    (sent,) = await delivery.of_endpoint(connection, org, made.endpoint.id)
    await delivery.replay(connection, org, sent.id, by="user_ada")
    await deliver()
    ids = [r.headers["webhook-id"] for r in shop_hook.received]
    assert ids == [sent.message] * 2
    since = datetime.now(UTC) - timedelta(hours=1)
    assert await delivery.replay_since(connection, org, made.endpoint.id, since, by="user_ada") == 2
    await deliver()
    assert sorted(json.loads(r.body)["type"] for r in shop_hook.received[2:]) == ["order.created", "order.paid"]


async def test_a_test_goes_to_one_endpoint_only(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    made = await new_endpoint(shop_hook.url("/one"), ("invoice.paid",))
    await new_endpoint(shop_hook.url("/two"))
    message = await delivery.send_test(connection, org, made.endpoint.id)
    await deliver()
    (got,) = shop_hook.received
    assert (got.path, got.headers["webhook-id"], json.loads(got.body)["type"]) == ("/one", message, "webhook.test")


async def test_one_test_at_a_time(
    connection: asyncpg.Connection, org: str, shop_hook: Receiver, new_endpoint: New, deliver: Deliver
) -> None:
    made = await new_endpoint()
    await delivery.send_test(connection, org, made.endpoint.id)
    with pytest.raises(Conflict, match="on its way"):
        await delivery.send_test(connection, org, made.endpoint.id)
    await deliver()
    await delivery.send_test(connection, org, made.endpoint.id)
