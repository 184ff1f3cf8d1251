"""Organizations, members, invitations and provider keys over HTTP: what is answered, and what is refused by name."""

import pytest

from tallystick.accounts import member, organization, throttle
from tallystick.accounts.member import Role
from tallystick.base.sealed import Sealer
from tallystick.notices.fence import Fence
from tallystick.subscriptions.override import override

URL = "http://pay.example.com"
SECRET = "sk-ant-of-the-tests-1234"


async def somewhere(_host, _port):
    return ["93.184.215.14"]


async def person(new_client, name, **options):
    """A program that is signed in; its `user` and `organization` are the ones it got."""
    client = new_client(sealer=Sealer({"k1": bytes(32)}), provider_fence=Fence(resolve=somewhere), **options)
    body = {"email": f"{name}@example.com", "password": "correct horse", "name": name.title()}
    made = (await client.post("/api/auth/sign-up", json=body)).json()
    client.cookies.clear()
    client.headers["authorization"] = f"Bearer {made['session_token']}"
    client.user, client.organization = made["user_id"], made["organization_id"]
    return client


@pytest.fixture
async def ada(new_client):
    return await person(new_client, "ada")


@pytest.fixture
async def eve(new_client):
    return await person(new_client, "eve")


async def acts(pool, organization_id):
    rows = await pool.fetch(
        "select act, done_by from audit_event where organization = $1 order by seq", organization_id
    )
    return [tuple(row) for row in rows]


async def test_one_is_created_read_renamed_and_listed(ada, pool):
    made = await ada.post("/api/organizations", json={"name": " Acme "})
    assert made.status_code == 201
    acme = made.json()
    assert acme.pop("created_at").endswith("Z")
    assert acme == {
        "id": acme["id"], "name": "Acme", "state": "active", "role": "owner", "planSlug": "prepaid",
        "features": {"metered_enabled": False},
    }  # fmt: skip
    renamed = await ada.patch(f"/api/organizations/{acme['id']}", json={"name": "Acme & Co"})
    assert renamed.json()["name"] == "Acme & Co"
    assert (await ada.get(f"/api/organizations/{acme['id']}")).json() == renamed.json()
    listed = (await ada.get("/api/organizations")).json()["organizations"]
    assert [(one["name"], one["role"]) for one in listed] == [("Ada", "owner"), ("Acme & Co", "owner")]
    assert await acts(pool, acme["id"]) == [
        ("organization.created", ada.user), ("member.added", ada.user), ("organization.renamed", ada.user),
    ]  # fmt: skip


async def test_what_the_operator_agreed_is_shown(ada, pool):
    async with pool.acquire() as connection:

        def enable(agreed):
            return type(agreed)(metered_enabled=True)

        await override(connection, ada.organization, enable)
    assert (await ada.get(f"/api/organizations/{ada.organization}")).json()["features"] == {"metered_enabled": True}


@pytest.mark.parametrize("features", [{"metered_enabled": True}, {"metered_enabled": False}, {}])
async def test_features_are_refused_and_not_ignored(ada, pool, features):
    for method, path in (("POST", "/api/organizations"), ("PATCH", f"/api/organizations/{ada.organization}")):
        answer = await ada.request(method, path, json={"name": "Other", "features": features})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "operator_only")
        assert "operator" in answer.json()["error"]["message"]
    assert await pool.fetchval("select count(*) from organization where name = 'Other'") == 0
    assert await pool.fetchval("select count(*) from organization_override where metered_enabled") == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"), ({}, "name"), ({"name": 5}, "name"), ({"name": "a\u202eb"}, "name"),
        ({"name": "x" * 300}, "name"), ({"name": "n", "metered_enabled": True}, "metered_enabled"),
        ({"name": "n", "balance": 5}, "balance"), ({"name": "n", "planSlug": "enterprise"}, "planSlug"),
    ],
)  # fmt: skip
async def test_bad_and_smuggled_fields_are_named(ada, pool, body, field):
    for method, path in (("POST", "/api/organizations"), ("PATCH", f"/api/organizations/{ada.organization}")):
        answer = await ada.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    twice = await ada.post(
        "/api/organizations", content=b'{"name": "a", "name": "b"}', headers={"content-type": "application/json"}
    )
    assert twice.status_code == 422
    assert await pool.fetchval("select count(*) from organization") == 1


async def test_others_organizations_are_not_found(ada, eve, pool):
    answers = [
        await eve.get(f"/api/organizations/{one}") for one in (ada.organization, "org_of_nobody", "%00", "x" * 99)
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


async def test_nobody_creates_them_without_end(ada, pool, monkeypatch):
    monkeypatch.setattr(throttle, "ORGANIZATIONS_BY_USER", throttle.Limit("organizations_user", 2, 3600))
    statuses = [(await ada.post("/api/organizations", json={"name": "n"})).status_code for _ in range(3)]
    assert statuses == [201, 201, 429]


async def test_members_are_listed_changed_and_leave(ada, eve, pool):
    async with pool.acquire() as connection:
        acme = await organization.create(connection, name="Acme")
        await member.add(connection, organization=acme.id, user_id=ada.user, role=Role.OWNER)
        await member.add(connection, organization=acme.id, user_id=eve.user, role=Role.VIEWER)
    at_acme = {"organization": acme.id}
    page = (await ada.get("/api/members", params=at_acme | {"limit": 1})).json()
    rest = (await ada.get("/api/members", params=at_acme | {"after": page["next"]})).json()
    found = {one["email"]: one["role"] for one in page["members"] + rest["members"]}
    assert (found, rest["next"]) == ({"ada@example.com": "owner", "eve@example.com": "viewer"}, None)
    changed = await ada.patch(f"/api/members/{eve.user}", json={"role": "admin"}, params=at_acme)
    assert changed.json() == {"user_id": eve.user, "role": "admin"}
    refused = await eve.patch(f"/api/members/{eve.user}", json={"role": "owner"}, params=at_acme)
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        403, "Only an owner can make, change or remove an owner.",
    )  # fmt: skip
    last = await ada.delete(f"/api/members/{ada.user}", params=at_acme)
    assert (last.status_code, last.json()["error"]["code"]) == (409, "last_owner")
    assert (await eve.delete(f"/api/members/{eve.user}", params=at_acme)).status_code == 204
    assert (await eve.get("/api/members", params=at_acme)).status_code == 404
    alone = await eve.delete(f"/api/members/{eve.user}")
    assert (alone.status_code, alone.json()["error"]["code"]) == (409, "personal_organization")


@pytest.mark.parametrize("body", [{"role": "root"}, {"role": None}, {}, {"role": "viewer", "user_id": "user_x"}])
async def test_no_other_role_is_taken(ada, body):
    assert (await ada.patch(f"/api/members/{ada.user}", json=body)).status_code == 422


async def test_keys_of_providers_go_in_and_never_out(ada, pool):
    given = {"providers": {"anthropic": {"apiKey": SECRET}, "openai": {"apiKey": "sk-short"}}}
    answers = [
        await ada.put("/api/credentials", json=given),
        await ada.put(
            "/api/credentials",
            json={"providers": {"openai": {"apiKey": SECRET, "baseUrl": "https://llm.example.org/v1/"}}},
        ),
        await ada.get("/api/credentials"),
    ]
    found = answers[-1].json()["providers"]
    assert {name: (one["lastFour"], one["baseUrl"]) for name, one in found.items()} == {
        "anthropic": ("1234", None), "openai": ("1234", "https://llm.example.org/v1"),
    }  # fmt: skip
    assert (await ada.delete("/api/credentials/openai")).status_code == 204
    assert (await ada.delete("/api/credentials/openai")).status_code == 404
    assert all("sk-" not in answer.text for answer in answers)
    rows = await pool.fetch(
        "select credential::text as text from credential union select audit_event::text from audit_event"
    )
    assert not any("sk-" in row["text"] for row in rows)


@pytest.mark.parametrize(
    ("providers", "field"),
    [
        ({}, "providers"),
        ({"OpenAI": {"apiKey": SECRET}}, "providers.OpenAI.[key]"),
        ({"open ai\n": {"apiKey": SECRET}}, "body"),
        ({"openai": {}}, "providers.openai.apiKey"),
        ({"openai": {"apiKey": "short"}}, "providers.openai.apiKey"),
        ({"openai": {"apiKey": SECRET + "\r\nx-evil: 1"}}, "providers.openai.apiKey"),
        ({"openai": {"apiKey": SECRET, "base_url": "https://llm.example.org"}}, "providers.openai.base_url"),
        ({"openai": {"apiKey": SECRET, "baseUrl": "https://169.254.169.254"}}, "providers.openai.baseUrl"),
        ({"openai": {"apiKey": SECRET, "baseUrl": "http://llm.example.org"}}, "providers.openai.baseUrl"),
        ({"openai": {"apiKey": SECRET, "baseUrl": "https://pay.example.com"}}, "providers.openai.baseUrl"),
        ({"good": {"apiKey": SECRET}, "openai": {"apiKey": SECRET, "baseUrl": "x"}}, "providers.openai.baseUrl"),
        ({f"p{n}": {"apiKey": SECRET} for n in range(51)}, "providers"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_is_kept(ada, pool, providers, field):
    answer = await ada.put("/api/credentials", json={"providers": providers})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert SECRET not in answer.text
    assert await pool.fetchval("select count(*) from credential") == 0


async def test_without_a_sealing_key_no_secret_is_taken(new_client):
    ada = await person(lambda **_: new_client(), "ada")
    answer = await ada.put("/api/credentials", json={"providers": {"openai": {"apiKey": SECRET}}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "credentials_closed")


async def test_of_another_organization_no_key_is_seen(ada, eve):
    await ada.put("/api/credentials", json={"providers": {"openai": {"apiKey": SECRET}}})
    assert (await eve.get("/api/credentials")).json() == {"providers": {}}
    assert (await eve.get("/api/credentials", params={"organization": ada.organization})).status_code == 404
    assert (await eve.delete("/api/credentials/openai")).status_code == 404
