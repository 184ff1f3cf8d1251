"""Invitations over HTTP: the routes, and the page that the link in the mail leads to."""

import re

import pytest

from tallystick.accounts import member, throttle, user
from tallystick.accounts.member import Role

URL = "http://pay.example.com"
PASSWORD = "correct horse"
OURS = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def signed_in(new_client, pool):
    """A program of somebody who is signed in."""

    async def make(name):
        made = await user.sign_up(pool, email=f"{name}@example.com", password=PASSWORD, name=name.title())
        client = new_client()
        client.headers["authorization"] = f"Bearer {made.session.token}"
        client.user, client.organization = made.user_id, made.organization_id
        return client

    return make


@pytest.fixture
async def ada(signed_in):
    return await signed_in("ada")


@pytest.fixture
def invite(ada, pool):
    async def ask(email="bob@example.com", role="developer"):
        made = await ada.post("/api/invitations", json={"email": email, "role": role})
        assert made.status_code == 201, made.text
        body = await pool.fetchval("select body from mail where key = $1", made.json()["id"])
        assert "token" not in made.text
        return re.search(rf"{URL}(/invitations/tsi_\w{{43}})\n", body)[1]

    return ask


@pytest.fixture
def browser(new_client):
    return new_client()


async def roles(pool, email):
    rows = await pool.fetch(
        "select organization.name, role from member join organization on organization.id = organization"
        " join app_user on app_user.id = user_id where email = $1", email,
    )  # fmt: skip
    return {row["name"]: row["role"] for row in rows}


async def submit(browser, link, **form):
    return await browser.post(link, data=form, headers=OURS)


async def test_they_are_listed_and_revoked(ada, invite):
    await invite()
    [one] = (await ada.get("/api/invitations")).json()["invitations"]
    assert (one["email"], one["role"], one["invited_by"]) == ("bob@example.com", "developer", ada.user)
    assert "tsi_" not in str(one)
    assert (await ada.delete(f"/api/invitations/{one['id']}")).status_code == 204
    assert (await ada.delete(f"/api/invitations/{one['id']}")).status_code == 404
    assert (await ada.get("/api/invitations")).json() == {"invitations": []}


async def test_known_and_unknown_addresses_are_answered_alike(ada, invite, signed_in):
    await signed_in("bob")
    answers = []
    for email in ("bob@example.com", "nobody@example.com"):
        answer = (await ada.post("/api/invitations", json={"email": email, "role": "viewer"})).json()
        answers.append({**answer, "id": "", "email": "", "created_at": "", "expires_at": ""})
    assert answers[0] == answers[1]


async def test_one_accepts_as_who_is_signed_in(invite, signed_in, pool):
    link = await invite()
    bob, eve = await signed_in("bob"), await signed_in("eve")
    token = {"token": link.rpartition("/")[2]}
    wrong = await eve.post("/api/invitations/accept", json=token)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "other_address")
    assert (await bob.post("/api/invitations/accept", json=token)).json()["role"] == "developer"
    again = await bob.post("/api/invitations/accept", json=token)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "invitation_gone")
    assert (await roles(pool, "bob@example.com"))["Ada"] == "developer"


async def test_one_signs_up_with_it_even_where_sign_up_is_closed(invite, new_client, pool):
    closed = new_client(sign_up_open=False)
    link = await invite()
    body = {"email": "bob@example.com", "password": PASSWORD}
    assert (await closed.post("/api/auth/sign-up", json=body)).json()["error"]["code"] == "sign_up_closed"
    for wrong in ("tsi_" + "x" * 43, ""):
        answer = await closed.post("/api/auth/sign-up", json=body | {"invitation": wrong})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "invitation_gone")
    made = await closed.post("/api/auth/sign-up", json=body | {"invitation": link.rpartition("/")[2]})
    assert made.status_code == 201
    assert (await roles(pool, "bob@example.com"))["Ada"] == "developer"


async def test_a_made_up_invitation_does_not_tell_whose_address_is_known(new_client, ada):
    closed = new_client(sign_up_open=False)
    answers = [
        (await closed.post("/api/auth/sign-up", json={"email": e, "password": PASSWORD, "invitation": "tsi_x"})).text
        for e in ("ada@example.com", "nobody@example.com")
    ]
    assert answers[0] == answers[1]


async def test_they_are_throttled(ada, monkeypatch):
    monkeypatch.setattr(throttle, "INVITATIONS_BY_USER", throttle.Limit("invitations_user", 3, 3600))
    monkeypatch.setattr(throttle, "INVITATIONS_TO_EMAIL", throttle.Limit("invitations_email", 2, 3600))
    statuses = [
        (await ada.post("/api/invitations", json={"email": email, "role": "viewer"})).status_code
        for email in ("b@example.com", "B@example.com", "b@example.com", "c@example.com")
    ]
    assert statuses == [201, 201, 429, 429]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "no address", "role": "viewer"}, "email"), ({"role": "viewer"}, "email"),
        ({"email": "b@example.com"}, "role"), ({"email": "b@example.com", "role": "root"}, "role"),
        ({"email": "b@example.com", "role": "viewer", "organization": "org_x"}, "organization"),
        ({"email": "b@example.com\nbcc: all@example.com", "role": "viewer"}, "email"),
    ],
)  # fmt: skip
async def test_bad_fields_are_named(ada, pool, body, field):
    answer = await ada.post("/api/invitations", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert await pool.fetchval("select count(*) from mail") == 0


async def test_the_page_says_what_is_offered_and_runs_nothing(browser, invite):
    page = await browser.get(await invite())
    assert page.status_code == 200
    assert all(words in page.text for words in ("Join Ada", "ada@example.com", "bob@example.com", "developer"))
    assert "<script" not in page.text
    assert "http" not in page.text.replace("https://www.w3.org", "")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("same-origin", "no-store")


async def test_the_page_is_the_same_whether_the_address_is_known(browser, invite, signed_in):
    unknown = (await browser.get(await invite("carol@example.com"))).text
    await signed_in("carol")
    known = (await browser.get(await invite("carol@example.com"))).text
    assert known == unknown


async def test_one_signs_up_on_the_page_and_is_in(browser, invite, pool):
    link = await invite()
    done = await submit(browser, link, way="sign-up", password="another horse")
    assert (done.status_code, done.headers["location"]) == (303, "/invitations/accepted")
    assert "httponly" in done.headers["set-cookie"].lower()
    assert (await browser.get("/invitations/accepted")).status_code == 200
    assert (await browser.get("/api/auth/me")).json()["email"] == "bob@example.com"
    assert await roles(pool, "bob@example.com") == {"bob@example.com": "owner", "Ada": "developer"}
    assert (await browser.get(link)).status_code == 404


async def test_one_signs_in_on_the_page_and_is_in(browser, invite, signed_in, pool):
    await signed_in("bob")
    link = await invite()
    wrong = await submit(browser, link, way="sign-in", password="wrong horse")
    assert (wrong.status_code, "Wrong e-mail or password." in wrong.text) == (401, True)
    done = await submit(browser, link, way="sign-in", password=PASSWORD)
    assert done.status_code == 303
    assert (await roles(pool, "bob@example.com"))["Ada"] == "developer"


async def test_who_is_signed_in_accepts_with_one_button(browser, invite, signed_in, pool):
    await signed_in("bob")
    link = await invite()
    await browser.post("/api/auth/sign-in", json={"email": "bob@example.com", "password": PASSWORD})
    assert "Accept the invitation" in (await browser.get(link)).text
    assert (await submit(browser, link, way="accept")).status_code == 303
    assert (await roles(pool, "bob@example.com"))["Ada"] == "developer"


async def test_who_is_signed_in_as_somebody_else_is_told_so_and_not_let_in(browser, invite, signed_in, pool):
    await signed_in("eve")
    link = await invite()
    await browser.post("/api/auth/sign-in", json={"email": "eve@example.com", "password": PASSWORD})
    assert "another address" in (await browser.get(link)).text
    refused = await submit(browser, link, way="accept")
    assert (refused.status_code, "another e-mail" in refused.text) == (403, True)
    assert await roles(pool, "eve@example.com") == {"Eve": "owner"}


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none"}, {"origin": "https://evil.example.org"}]
)
async def test_another_site_cannot_have_the_browser_accept(browser, invite, signed_in, pool, headers):
    await signed_in("bob")
    link = await invite()
    await browser.post("/api/auth/sign-in", json={"email": "bob@example.com", "password": PASSWORD})
    answer = await browser.post(link, data={"way": "accept"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site_request")
    unsaid = await browser.post(link, data={"way": "accept"})
    assert (unsaid.status_code, "did not come from a page" in unsaid.text) == (403, True)
    assert "Ada" not in await roles(pool, "bob@example.com")


async def test_a_link_that_leads_nowhere_says_so(browser, invite, ada):
    link = await invite()
    [one] = (await ada.get("/api/invitations")).json()["invitations"]
    await ada.delete(f"/api/invitations/{one['id']}")
    for gone in (link, "/invitations/tsi_" + "x" * 43, "/invitations/%00", "/invitations/" + "x" * 5000):
        page = await browser.get(gone)
        assert (page.status_code, "cannot be used" in page.text) == (404, True)
        assert (await submit(browser, gone, way="sign-up", password=PASSWORD)).status_code == 404


@pytest.mark.parametrize(
    "form", [{}, {"way": "other"}, {"way": "sign-up", "password": "short"}, {"way": "sign-in", "password": "x" * 2000}]
)
async def test_what_is_wrong_is_said_on_the_page(browser, invite, form):
    answer = await submit(browser, await invite(), **form)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


async def test_names_are_shown_as_they_are_and_do_nothing(browser, ada, invite, pool):
    await ada.patch(f"/api/organizations/{ada.organization}", json={"name": '<img src=x onerror="alert(1)">{{7*7}}'})
    page = (await browser.get(await invite())).text
    assert "<img" not in page
    assert "&lt;img" in page
    assert "{{7*7}}" in page


async def test_an_admin_invites_no_owner(ada, signed_in, pool):
    eve = await signed_in("eve")
    await member.add(pool, organization=ada.organization, user_id=eve.user, role=Role.ADMIN)
    answer = await eve.post(
        "/api/invitations", json={"email": "b@example.com", "role": "owner"}, params={"organization": ada.organization}
    )
    assert answer.status_code == 403
