"""API keys over HTTP: the secret once, roles, and nothing of another organization's."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from tallystick.accounts import member, organization
from tallystick.accounts.member import Role
from tallystick.accounts.organization import Organization

Client = Callable[..., httpx.AsyncClient]


async def person(new_client: Client, name: str) -> httpx.AsyncClient:
    """A program that is signed in."""
    client = new_client()
    body = {"email": f"{name}@example.com", "password": "correct horse"}
    made = (await client.post("/api/auth/sign-up", json=body)).json()
    client.cookies.clear()
    client.headers["authorization"] = f"Bearer {made['session_token']}"
    client.headers["x-test-user"] = made["user_id"]
    return client


@pytest.fixture
async def ada(new_client: Client) -> httpx.AsyncClient:
    return await person(new_client, "ada")


@pytest.fixture
async def eve(new_client: Client) -> httpx.AsyncClient:
    return await person(new_client, "eve")


@pytest.fixture
async def acme(pool: asyncpg.Pool) -> Organization:
    async with pool.acquire() as connection:
        return await organization.create(connection, name="Acme")


async def create(client: httpx.AsyncClient, name: str = "CI", **more: Any) -> dict[str, Any]:
    answer = await client.post("/api/keys", json={"name": name} | more)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def keys_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = (await client.get("/api/keys")).json()["keys"]
    return keys


async def test_the_secret_is_in_the_first_answer_only(ada: httpx.AsyncClient) -> None:
    made = await create(ada)
    secret = made.pop("key")
    assert secret.startswith("tsk_")
    assert made["prefix"] == secret[:12]
    assert (made["name"], made["expires_at"], made["revoked_at"]) == ("CI", None, None)
    listed = await ada.get("/api/keys")
    assert listed.json() == {"keys": [made], "next": None}
    assert secret not in listed.text


async def test_the_secret_works_until_the_key_is_revoked(
    ada: httpx.AsyncClient, caller_of: Callable[[str], Awaitable[str | None]]
) -> None:
    made = await create(ada)
    assert await caller_of(made["key"]) == made["id"]
    assert (await ada.delete(f"/api/keys/{made['id']}")).status_code == 204
    assert await caller_of(made["key"]) is None
    [listed] = await keys_of(ada)
    assert listed["revoked_at"] is not None
    assert (await ada.delete(f"/api/keys/{made['id']}")).status_code == 204
    assert await keys_of(ada) == [listed]


async def test_another_organizations_key_is_answered_like_none(ada: httpx.AsyncClient, eve: httpx.AsyncClient) -> None:
    made = await create(ada)
    answers = []
    for key in (made["id"], "key_of_nobody", "%00", "x" * 5000, "' or 1=1 --"):
        answer = await eve.delete(f"/api/keys/{key}")
        answers.append((answer.status_code, answer.json()))
    assert answers == [answers[0]] * 5
    assert answers[0][0] == 404
    assert await keys_of(eve) == []
    assert (await keys_of(ada))[0]["revoked_at"] is None


@pytest.mark.parametrize(
    "smuggled", [{"organization": "org_x"}, {"role": "owner"}, {"balance": 5}, {"prefix": "tsk_x"}]
)
async def test_smuggled_fields_are_refused(ada: httpx.AsyncClient, smuggled: dict[str, Any]) -> None:
    answer = await ada.post("/api/keys", json={"name": "k"} | smuggled)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, next(iter(smuggled)))
    assert await keys_of(ada) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 300}, "name"), ({"name": "a\0b"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "k", "expires_at": "yesterday"}, "expires_at"),
        ({"name": "k", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "k", "expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"name": "k", "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"name": "k", "expires_at": 1e30}, "expires_at"),
        ({"name": "k", "expires_at": True}, "expires_at"),
    ],
)  # fmt: skip
async def test_bad_fields_are_named(ada: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    answer = await ada.post("/api/keys", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert await keys_of(ada) == []


async def test_a_key_can_expire(ada: httpx.AsyncClient) -> None:
    at = datetime.now(UTC) + timedelta(days=30)
    made = await create(ada, expires_at=at.isoformat())
    assert datetime.fromisoformat(made["expires_at"]) == at


async def test_keys_are_listed_page_by_page(ada: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    for n in range(3):
        await create(ada, f"k{n}")
    # To the millisecond: of two made in the same one, either may come first.
    await pool.execute("update api_key set id = 'key_' || name")
    first = (await ada.get("/api/keys", params={"limit": 2})).json()
    assert [key["name"] for key in first["keys"]] == ["k2", "k1"]
    second = (await ada.get("/api/keys", params={"limit": 2, "before": first["next"]})).json()
    assert ([key["name"] for key in second["keys"]], second["next"]) == (["k0"], None)
    for wrong in ({"limit": 0}, {"limit": 10**9}, {"limit": "x"}, {"before": "\0"}):
        assert (await ada.get("/api/keys", params=wrong)).status_code == 422


@pytest.mark.parametrize("role", Role)
async def test_every_member_lists_and_some_roles_create_and_revoke(
    ada: httpx.AsyncClient, acme: Organization, pool: asyncpg.Pool, role: Role
) -> None:
    await member.add(pool, organization=acme.id, user_id=ada.headers["x-test-user"], role=role)
    at_acme = {"organization": acme.id}
    made = await ada.post("/api/keys", json={"name": "k"}, params=at_acme)
    if role in {Role.OWNER, Role.ADMIN, Role.DEVELOPER}:
        assert made.status_code == 201
        assert (await ada.delete(f"/api/keys/{made.json()['id']}", params=at_acme)).status_code == 204
    else:
        assert (made.status_code, made.json()["error"]["code"]) == (403, "forbidden")
        assert (await ada.delete("/api/keys/key_of_nobody", params=at_acme)).status_code == 403
    listed = await ada.get("/api/keys", params=at_acme)
    assert listed.status_code == 200
    assert len(listed.json()["keys"]) == (made.status_code == 201)
    assert await keys_of(ada) == []


async def test_an_organization_of_others_is_answered_like_none(
    ada: httpx.AsyncClient, acme: Organization, pool: asyncpg.Pool
) -> None:
    for organization_id in (acme.id, "org_of_nobody", "\0", ""):
        for method in ("GET", "POST"):
            answer = await ada.request(
                method, "/api/keys", params={"organization": organization_id}, json={"name": "k"}
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert await pool.fetchval("select count(*) from api_key") == 0


@pytest.mark.parametrize("body", ['{"name": "a", "name": "b"}', "[]", "null"])
async def test_a_body_that_two_would_read_differently_makes_no_key(ada: httpx.AsyncClient, body: str) -> None:
    answer = await ada.post("/api/keys", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    assert await keys_of(ada) == []
