"""Who asks about billing: the key that was made for it, the member who may, and nobody else."""

import httpx
import pytest

from tallystick.accounts import api_key, member, membership, organization, user
from tallystick.accounts.api_key import Scope
from tallystick.accounts.authenticate import KeyRing
from tallystick.accounts.member import Role
from tallystick.accounts.organization import OrganizationState
from tallystick.api.app import create_api
from tallystick.api.billing_caller import CurrentBillingCaller
from tallystick.api.dependencies import ApiDependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.base.changes import Changes
from tests.patience import eventually

URL = "http://pay.example.com"


@pytest.fixture
async def client(dsn, pool):
    changes = Changes(dsn, 0.05)
    parts = {"lanes": None, "book": None}
    app = create_api(
        ApiDependencies(pool=pool, changes=changes, keyring=KeyRing(pool, changes), public_url=URL, **parts)
    )

    @app.get("/api/who")
    async def who(caller: CurrentBillingCaller):
        return ExactJSON(caller)

    await changes.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as made:
        yield made
    await changes.stop()


@pytest.fixture
async def ada(pool):
    return await user.sign_up(pool, email="ada@example.com", password="correct horse")


@pytest.fixture
def new_key(pool, ada):
    async def make(*scopes, by=None, where=None):
        async with pool.acquire() as connection:
            return await api_key.create(
                connection, organization=where or ada.organization_id, name="k", scopes=scopes, by=by or ada.user_id
            )

    return make


async def ask(client, token, header="authorization", **params):
    value = f"Bearer {token}" if header == "authorization" else token
    answer = await client.get("/api/who", headers={header: value}, params=params)
    return answer.status_code, answer.json()


async def test_a_key_of_the_billing_scope_speaks_for_its_organization(client, pool, ada, new_key):
    made = await new_key(Scope.BILLING)
    account = await pool.fetchval("select account from organization where id = $1", ada.organization_id)
    expected = {"organization": ada.organization_id, "account": account, "asked_by": made.key.id}
    assert await ask(client, made.secret) == (200, expected)
    assert await ask(client, made.secret, "x-api-key") == (200, expected)
    assert await ask(client, made.secret, organization=ada.organization_id) == (200, expected)


async def test_a_member_who_may_is_told_from_a_key(client, ada):
    status, who = await ask(client, ada.session.token)
    assert (status, who["asked_by"], who["organization"]) == (200, ada.user_id, ada.organization_id)


async def test_a_key_without_the_scope_is_told_what_it_lacks(client, new_key):
    status, answer = await ask(client, (await new_key()).secret)
    assert (status, answer["error"]["code"]) == (403, "missing_scope")
    assert "billing scope" in answer["error"]["message"]


async def test_a_key_does_not_speak_for_other_organizations(client, pool, new_key):
    async with pool.acquire() as connection:
        other = await organization.create(connection, name="Other")
    made = await new_key(Scope.BILLING)
    for name in (other.id, "org_of_nobody", ""):
        assert (await ask(client, made.secret, organization=name))[0] == 404


async def test_nobody_unknown_or_twice_is_401(client, ada, new_key):
    made = await new_key(Scope.BILLING)
    assert (await client.get("/api/who")).status_code == 401
    assert (await ask(client, "tsk_" + "x" * 43))[0] == 401
    assert (await ask(client, "nonsense"))[0] == 401
    both = {"authorization": f"Bearer {ada.session.token}", "x-api-key": made.secret}
    assert (await client.get("/api/who", headers=both)).status_code == 401


@pytest.mark.parametrize("what", ["revoked", "suspended", "its maker may no more"])
async def test_what_ends_is_felt(client, pool, ada, new_key, what):
    bob = await user.sign_up(pool, email="bob@example.com", password="correct horse")
    await member.add(pool, organization=ada.organization_id, user_id=bob.user_id, role=Role.ADMIN)
    made = await new_key(Scope.BILLING, by=bob.user_id)
    assert (await ask(client, made.secret))[0] == 200
    async with pool.acquire() as connection:
        if what == "revoked":
            await api_key.revoke(connection, organization=ada.organization_id, key=made.key.id, by=ada.user_id)
        elif what == "suspended":
            await organization.set_state(
                connection, ada.organization_id, OrganizationState.SUSPENDED, by="operator:ada"
            )
        else:
            await membership.remove(connection, ada.organization_id, bob.user_id, by=ada.user_id)
    expected = {"revoked": (401, "unauthorized"), "suspended": (403, "organization_suspended")}

    async def is_refused():
        return (await ask(client, made.secret))[0] != 200

    await eventually(is_refused)
    status, answer = await ask(client, made.secret)
    assert (status, answer["error"]["code"]) == expected.get(what, (403, "missing_scope"))


async def test_a_wide_key_is_made_by_who_may(client, pool, ada):
    bob = await user.sign_up(pool, email="bob@example.com", password="correct horse")
    await member.add(pool, organization=ada.organization_id, user_id=bob.user_id, role=Role.DEVELOPER)
    at_ada = {"organization": ada.organization_id}
    for who, status in ((bob, 403), (ada, 201)):
        headers = {"authorization": f"Bearer {who.session.token}"}
        body = {"name": "k", "scopes": ["billing"]}
        answer = await client.post("/api/keys", json=body, headers=headers, params=at_ada)
        assert answer.status_code == status
    assert answer.json()["scopes"] == ["billing"]
    assert (await ask(client, answer.json()["key"]))[0] == 200
    for scopes in (["root"], ["billing", "root"], "billing", [1], [None]):
        answer = await client.post("/api/keys", json={"name": "k", "scopes": scopes}, headers=headers, params=at_ada)
        assert answer.status_code == 422
