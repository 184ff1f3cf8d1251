"""Endpoints belong to one organization, change with a trace, and have a limit."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tallystick.accounts import organization
from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.base.sealed import Sealer
from tallystick.notices import delivery, endpoint
from tallystick.notices.emit import emit
from tallystick.notices.endpoint import ENDPOINTS_MAX, NewEndpoint
from tests.notices.receiver import Receiver

New = Callable[..., Awaitable[NewEndpoint]]


async def test_another_organizations_endpoint_is_like_none(
    connection: asyncpg.Connection, org: str, sealer: Sealer, new_endpoint: New
) -> None:
    made = await new_endpoint()
    eve = (await organization.create(connection, name="Eve")).id
    await emit(connection, org, "order.paid", {})
    await delivery.match_notices(connection)
    (sent,) = await delivery.of_endpoint(connection, org, made.endpoint.id)
    for id_ in (made.endpoint.id, "whe_nobody", "\0", "", "x" * 5000):
        for attempt in (
            endpoint.find(connection, eve, id_),
            endpoint.change(connection, eve, id_, {"enabled": False}, by="user_eve"),
            endpoint.remove(connection, eve, id_, by="user_eve"),
            endpoint.rotate(connection, sealer, eve, id_, overlap=timedelta(0), by="user_eve"),
            delivery.of_endpoint(connection, eve, id_),
            delivery.send_test(connection, eve, id_),
            delivery.replay_since(connection, eve, id_, datetime.now(UTC), by="user_eve"),
        ):
            with pytest.raises(NotFound, match="There is no such webhook"):
                await attempt
    with pytest.raises(NotFound):
        await delivery.replay(connection, eve, sent.id, by="user_eve")
    mine = await new_endpoint(of=eve)
    # A cursor of another's tells nothing of them.
    assert await delivery.of_endpoint(connection, eve, mine.endpoint.id, before=sent.id) == []
    assert await endpoint.find(connection, org, made.endpoint.id) == made.endpoint


async def test_every_act_is_in_the_audit_log_without_secrets(
    connection: asyncpg.Connection, org: str, sealer: Sealer, new_endpoint: New, shop_hook: Receiver
) -> None:
    made = await new_endpoint(shop_hook.url("/h?token=s3cret"))
    id_ = made.endpoint.id
    await endpoint.change(connection, org, id_, {"types": ["order.*"]}, by="user_ada")
    await endpoint.rotate(connection, sealer, org, id_, overlap=timedelta(hours=1), by="user_ada")
    await endpoint.remove(connection, org, id_, by="operator:bob")
    rows = await connection.fetch("select act, done_by, subject, before, after from audit_event order by seq")
    assert [(row["act"], row["done_by"]) for row in rows if row["subject"] == id_] == [
        ("webhook.created", "user_ada"), ("webhook.changed", "user_ada"), ("webhook.rotated", "user_ada"),
        ("webhook.deleted", "operator:bob"),
    ]  # fmt: skip
    changed = next(row for row in rows if row["act"] == "webhook.changed")
    assert (json.loads(changed["before"])["types"], json.loads(changed["after"])["types"]) == (["*"], ["order.*"])
    assert not any("s3cret" in f"{row['before']}{row['after']}" for row in rows)


async def test_there_is_a_limit(connection: asyncpg.Connection, new_endpoint: New) -> None:
    for _ in range(ENDPOINTS_MAX):
        await new_endpoint()
    with pytest.raises(Conflict, match="at most 20"):
        await new_endpoint()


async def test_a_disabled_one_is_sent_nothing_and_what_waited_has_failed(
    connection: asyncpg.Connection, pool: asyncpg.Pool, org: str, new_endpoint: New
) -> None:
    made = await new_endpoint()
    await emit(connection, org, "order.paid", {})
    await delivery.match_notices(pool)
    await endpoint.change(connection, org, made.endpoint.id, {"enabled": False}, by="user_ada")
    await emit(connection, org, "order.credited", {})
    await delivery.match_notices(pool)
    (sent,) = await delivery.of_endpoint(connection, org, made.endpoint.id)
    assert (sent.type, sent.state) == ("order.paid", "failed")
    for attempt in (
        delivery.replay(connection, org, sent.id, by="user_ada"),
        delivery.send_test(connection, org, made.endpoint.id),
        delivery.replay_since(connection, org, made.endpoint.id, datetime.now(UTC), by="user_ada"),
    ):
        with pytest.raises(Conflict, match="enable it first"):
            await attempt


@pytest.mark.parametrize("overlap", [timedelta(hours=-1), timedelta(hours=169)])
async def test_an_overlap_has_a_limit(
    connection: asyncpg.Connection, org: str, sealer: Sealer, new_endpoint: New, overlap: timedelta
) -> None:
    made = await new_endpoint()
    with pytest.raises(InvalidInput, match="overlap_hours"):
        await endpoint.rotate(connection, sealer, org, made.endpoint.id, overlap=overlap, by="user_ada")


async def test_a_leaked_secret_can_end_at_once(
    connection: asyncpg.Connection, org: str, sealer: Sealer, new_endpoint: New
) -> None:
    made = await new_endpoint()
    await endpoint.rotate(connection, sealer, org, made.endpoint.id, overlap=timedelta(hours=1), by="user_ada")
    row = await endpoint.rotate(connection, sealer, org, made.endpoint.id, overlap=timedelta(0), by="user_ada")
    assert row.endpoint.previous_until is None
    assert await connection.fetchval("select previous_sealed from webhook_endpoint") is None


@pytest.mark.parametrize(
    "changes", [{"types": []}, {"types": ["nothing.*"]}, {"description": "a\0b"}, {"description": "x" * 201}]
)
async def test_a_change_that_is_wrong_changes_nothing(
    connection: asyncpg.Connection, org: str, new_endpoint: New, changes: dict[str, object]
) -> None:
    made = await new_endpoint()
    with pytest.raises(InvalidInput):
        await endpoint.change(connection, org, made.endpoint.id, changes, by="user_ada")
    assert await endpoint.find(connection, org, made.endpoint.id) == made.endpoint
