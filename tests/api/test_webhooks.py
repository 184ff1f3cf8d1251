"""Webhooks over HTTP: made, changed, tried, replayed; their secrets once; nothing of another organization's."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tallystick.accounts import api_key
from tallystick.accounts.api_key import Scope
from tallystick.base.sealed import Sealer
from tallystick.notices.delivery import match_notices
from tallystick.notices.emit import emit
from tallystick.notices.fence import Fence
from tallystick.notices.send import Sender
from tests.api.test_keys import person
from tests.notices.receiver import Receiver, receiver

Client = Callable[..., httpx.AsyncClient]
SEALER = Sealer({"test": secrets.token_bytes(32)})


@pytest.fixture
def open_client(new_client: Client) -> Client:
    return lambda: new_client(sealer=SEALER, webhook_fence=Fence(loopback=True))


@pytest.fixture
async def ada(open_client: Client) -> httpx.AsyncClient:
    return await person(open_client, "ada")


@pytest.fixture
async def eve(open_client: Client) -> httpx.AsyncClient:
    return await person(open_client, "eve")


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as opened:
        yield opened


@pytest.fixture
def deliver(pool: asyncpg.Pool) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        sender = Sender(pool, SEALER, Fence(loopback=True), timeout_s=2)
        await match_notices(pool)
        await sender.send_due()
        await sender.finish()

    return run


async def create(client: httpx.AsyncClient, url: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/api/webhooks", json={"url": url, "types": ["order.*"]} | more)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def organization_of(client: httpx.AsyncClient) -> str:
    return str((await client.get("/api/auth/me")).json()["organizations"][0]["id"])


async def test_the_whole_story(
    ada: httpx.AsyncClient, hook: Receiver, pool: asyncpg.Pool, deliver: Callable[[], Awaitable[None]]
) -> None:
    made = await create(ada, hook.url(), description="shop")
    secret = made.pop("secret")
    listed = await ada.get("/api/webhooks")
    assert listed.json() == {"webhooks": [made]}
    assert secret not in listed.text
    assert (made["types"], made["description"], made["enabled"]) == (["order.*"], "shop", True)

    tried = await ada.post(f"/api/webhooks/{made['id']}/test")
    assert tried.status_code == 202
    await deliver()
    assert Webhook(secret).verify(hook.received[0].body, hook.received[0].headers)["type"] == "webhook.test"
    assert hook.received[0].headers["webhook-id"] == tried.json()["message"]

    hook.answers = [(500, {}, "out of order")]
    await emit(pool, await organization_of(ada), "order.paid", {"order": "ord_1"})
    await deliver()
    page = (await ada.get(f"/api/webhooks/{made['id']}/deliveries")).json()
    assert [(d["type"], d["state"], d["attempts"]) for d in page["deliveries"]] == [
        ("order.paid", "waiting", 1), ("webhook.test", "delivered", 1),
    ]  # fmt: skip
    (attempt,) = page["deliveries"][0]["log"]
    assert (attempt["status"], attempt["answer"]) == (500, "out of order")
    assert page["next_cursor"] is None

    again = await ada.post(f"/api/webhooks/deliveries/{page['deliveries'][0]['id']}/replay")
    assert (again.status_code, again.json()["webhook"]) == (202, made["id"])
    await deliver()
    assert len({r.headers["webhook-id"] for r in hook.received[1:]}) == 1
    all_again = await ada.post(f"/api/webhooks/{made['id']}/replay", json={"since": "2020-01-01T00:00:00Z"})
    assert all_again.json() == {"messages": 1}

    rotated = (await ada.post(f"/api/webhooks/{made['id']}/rotate", json={"overlap_hours": 1})).json()
    assert rotated["secret"] != secret
    assert rotated["previous_until"] is not None
    changed = (await ada.patch(f"/api/webhooks/{made['id']}", json={"enabled": False})).json()
    assert changed["enabled"] is False
    refused = await ada.post(f"/api/webhooks/{made['id']}/test")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert (await ada.delete(f"/api/webhooks/{made['id']}")).status_code == 204
    assert (await ada.get("/api/webhooks")).json() == {"webhooks": []}


async def test_deliveries_come_page_by_page(
    ada: httpx.AsyncClient, hook: Receiver, pool: asyncpg.Pool, deliver: Callable[[], Awaitable[None]]
) -> None:
    made = await create(ada, hook.url())
    for kind in ("order.created", "order.paid", "order.credited"):
        await emit(pool, await organization_of(ada), kind, {})
    await deliver()
    path = f"/api/webhooks/{made['id']}/deliveries"
    first = (await ada.get(path, params={"limit": 2})).json()
    second = (await ada.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [d["type"] for d in first["deliveries"] + second["deliveries"]] == [
        "order.credited", "order.paid", "order.created",
    ]  # fmt: skip
    assert second["next_cursor"] is None
    assert (await ada.get(path, params={"state": "failed"})).json()["deliveries"] == []
    assert (await ada.get(path, params={"state": "lost"})).status_code == 422


async def test_another_organizations_are_answered_like_none(
    ada: httpx.AsyncClient, eve: httpx.AsyncClient, hook: Receiver, pool: asyncpg.Pool,
    deliver: Callable[[], Awaitable[None]],
) -> None:  # fmt: skip
    made = await create(ada, hook.url())
    await emit(pool, await organization_of(ada), "order.paid", {})
    await deliver()
    path = f"/api/webhooks/{made['id']}/deliveries"
    sent = (await ada.get(path)).json()["deliveries"][0]["id"]
    for webhook, delivery in ((made["id"], sent), ("whe_nobody", "whd_nobody"), ("%00", "%00")):
        for method, path, body in (
            ("PATCH", f"/api/webhooks/{webhook}", {"enabled": False}),
            ("PATCH", f"/api/webhooks/{webhook}", {"url": "http://10.0.0.1/"}),
            ("DELETE", f"/api/webhooks/{webhook}", None),
            ("POST", f"/api/webhooks/{webhook}/rotate", {}),
            ("POST", f"/api/webhooks/{webhook}/test", None),
            ("POST", f"/api/webhooks/{webhook}/replay", {"since": "2020-01-01T00:00:00Z"}),
            ("GET", f"/api/webhooks/{webhook}/deliveries", None),
            ("POST", f"/api/webhooks/deliveries/{delivery}/replay", None),
        ):
            answer = await eve.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (method, path)
    assert (await ada.get("/api/webhooks")).json()["webhooks"][0]["enabled"] is True
    assert (await eve.get("/api/webhooks")).json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"url": None}, "url"),
        ({"enabled": "yes"}, "enabled"),
        ({"types": []}, "types"),
        ({"id": 1}, "id"),
    ],
)
async def test_a_change_that_says_nothing_or_nonsense_is_refused(
    ada: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    made = await create(ada, "http://127.0.0.1:1/hooks")
    answer = await ada.patch(f"/api/webhooks/{made['id']}", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    (kept,) = (await ada.get("/api/webhooks")).json()["webhooks"]
    assert kept == {name: value for name, value in made.items() if name != "secret"}
    answer = await ada.get(f"/api/webhooks/{made['id']}/deliveries", params={"cursor": made["id"]})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"types": ["*"]}, "url"), ({"url": "http://127.0.0.1:1/"}, "types"),
        ({"url": "https://169.254.169.254/", "types": ["*"]}, "url"),
        ({"url": "https://10.1.2.3/", "types": ["*"]}, "url"),
        ({"url": "http://127.0.0.1:1/", "types": []}, "types"),
        ({"url": "http://127.0.0.1:1/", "types": ["x.*"]}, "types"),
        ({"url": "http://127.0.0.1:1/", "types": "*"}, "types"),
        ({"url": "http://127.0.0.1:1/", "types": ["*"], "secret": "whsec_mine"}, "secret"),
        ({"url": "http://127.0.0.1:1/", "types": ["*"], "organization": "org_x"}, "organization"),
        ({"url": "http://127.0.0.1:1/", "types": ["*"], "description": "x" * 201}, "description"),
        ({"url": 5, "types": ["*"]}, "url"),
    ],
)  # fmt: skip
async def test_bad_fields_are_named(ada: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    answer = await ada.post("/api/webhooks", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert (await ada.get("/api/webhooks")).json() == {"webhooks": []}


async def test_a_server_without_a_sealing_key_says_so(new_client: Client) -> None:
    client = await person(new_client, "ada")
    answer = await client.post("/api/webhooks", json={"url": "https://hooks.example.com/", "types": ["*"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "webhooks_closed")


async def test_a_key_of_the_billing_scope_may_and_another_may_not(
    open_client: Client, ada: httpx.AsyncClient, hook: Receiver, pool: asyncpg.Pool
) -> None:
    program = open_client()
    organization = await organization_of(ada)
    for scopes, status in (([Scope.BILLING], 201), ([], 403)):
        async with pool.acquire() as connection:
            key = await api_key.create(
                connection, organization=organization, name="k", scopes=scopes, by="operator:bob"
            )
        program.headers["authorization"] = f"Bearer {key.secret}"
        answer = await program.post("/api/webhooks", json={"url": hook.url(), "types": ["*"]})
        assert answer.status_code == status, answer.text
    done_by = await pool.fetchval("select done_by from audit_event where act = 'webhook.created'")
    assert done_by.startswith("key_")
