"""Signing up, in and out over HTTP: what goes out, what is refused, and what an ended session is worth."""

from collections.abc import Callable

import asyncpg
import httpx
import pytest

from tallystick.accounts import throttle

Client = Callable[..., httpx.AsyncClient]
ADA = {"email": "ada@example.com", "password": "correct horse"}


async def sign_up(client: httpx.AsyncClient, **changed: object) -> httpx.Response:
    return await client.post("/api/auth/sign-up", json=ADA | changed)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def status_of_me(client: httpx.AsyncClient, token: str) -> int:
    client.cookies.clear()
    return (await client.get("/api/auth/me", headers=bearer(token))).status_code


async def test_sign_up_answers_with_a_session_that_works(program: httpx.AsyncClient) -> None:
    answer = await sign_up(program, name="Ada")
    assert answer.status_code == 201
    made = answer.json()
    assert set(made) == {"user_id", "organization_id", "session_token", "expires_at"}
    assert answer.headers["cache-control"] == "no-store"
    program.cookies.clear()
    me = (await program.get("/api/auth/me", headers=bearer(made["session_token"]))).json()
    assert me == {
        "user_id": made["user_id"],
        "email": "ada@example.com",
        "organization_id": made["organization_id"],
        "role": "owner",
        "organizations": [{"id": made["organization_id"], "name": "Ada", "state": "active", "role": "owner"}],
    }


@pytest.mark.parametrize(
    ("public_url", "secure"), [("https://pay.example.com", True), ("http://127.0.0.1:8080", False)]
)
async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    new_client: Client, public_url: str, secure: bool
) -> None:
    answer = await sign_up(new_client(public_url=public_url))
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"tallystick_session={answer.json()['session_token']};")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= attributes
    assert ("secure" in attributes) is secure
    assert not any(attribute.startswith("domain") for attribute in attributes)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "no address"}, "email"), ({"email": 7}, "email"), ({"email": None}, "email"),
        ({"password": "short"}, "password"), ({"password": 12345678}, "password"),
        ({"password": "x" * 2000}, "password"),
        ({"name": ""}, "name"), ({"name": "a\0b"}, "name"), ({"role": "owner"}, "role"), ({"balance": 10}, "balance"),
        ({"organization": "org_x"}, "organization"), ({"organization_id": "org_x"}, "organization_id"),
    ],
)  # fmt: skip
async def test_bad_or_smuggled_fields_are_named_and_leave_no_row(
    program: httpx.AsyncClient, pool: asyncpg.Pool, body: dict[str, object], field: str
) -> None:
    answer = await sign_up(program, **body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert await pool.fetchval("select count(*) from app_user") == 0
    assert await pool.fetchval("select count(*) from organization") == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b'{"email": "a@example.com", "password": "\\ud800\\ud800\\ud800\\ud800\\ud800"}',
     b"\xff\xfe"],
)  # fmt: skip
async def test_a_body_that_is_no_such_object_is_422(program: httpx.AsyncClient, body: bytes) -> None:
    for path in ("sign-up", "sign-in"):
        answer = await program.post(f"/api/auth/{path}", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert "field" in answer.json()["error"]


async def test_a_body_nested_without_end_is_refused(program: httpx.AsyncClient) -> None:
    json = {"content-type": "application/json"}
    answer = await program.post("/api/auth/sign-in", content=b"[" * 100_000, headers=json)
    assert answer.status_code in {400, 422}
    assert set(answer.json()["error"]) >= {"code", "message"}


async def test_a_known_email_cannot_sign_up_again(program: httpx.AsyncClient) -> None:
    await sign_up(program)
    answer = await sign_up(program, password="another password", email="ADA@example.com ")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "email_taken")


async def test_sign_up_can_be_closed(new_client: Client, pool: asyncpg.Pool) -> None:
    answer = await sign_up(new_client(sign_up_open=False))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "sign_up_closed")
    assert await pool.fetchval("select count(*) from app_user") == 0


async def test_sign_in_gives_a_session_of_its_own(program: httpx.AsyncClient) -> None:
    made = (await sign_up(program)).json()
    answer = await program.post("/api/auth/sign-in", json=ADA)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["user_id"], found["organization_id"]) == (made["user_id"], made["organization_id"])
    assert found["session_token"] != made["session_token"]
    assert await status_of_me(program, found["session_token"]) == 200


async def test_known_and_unknown_emails_are_answered_alike_until_both_are_throttled(program: httpx.AsyncClient) -> None:
    await sign_up(program)

    async def answers(email: str) -> list[tuple[int, str, bool, bool]]:
        seen = []
        for _ in range(throttle.SIGN_IN_BY_EMAIL.attempts_max + 2):
            answer = await program.post("/api/auth/sign-in", json={"email": email, "password": "wrong password"})
            error = answer.json()["error"]
            error.pop("retry_after", None)
            seen.append(
                (answer.status_code, str(error), "retry-after" in answer.headers, "set-cookie" in answer.headers)
            )
        return seen

    known = await answers("ada@example.com")
    assert known == await answers("nobody@example.com")
    assert [status for status, *_ in known] == [401] * throttle.SIGN_IN_BY_EMAIL.attempts_max + [429] * 2
    assert [waits for _, _, waits, _ in known][-2:] == [True, True]


async def test_after_signing_out_the_session_is_worth_nothing(program: httpx.AsyncClient) -> None:
    token = (await sign_up(program)).json()["session_token"]
    program.cookies.clear()
    answer = await program.post("/api/auth/sign-out", headers=bearer(token))
    assert answer.status_code == 204
    assert 'tallystick_session=""' in answer.headers["set-cookie"]
    assert await status_of_me(program, token) == 401
    assert (await program.post("/api/auth/sign-out", headers=bearer(token))).status_code == 204


async def test_after_a_password_change_only_the_new_session_works(program: httpx.AsyncClient) -> None:
    first = (await sign_up(program)).json()["session_token"]
    second = (await program.post("/api/auth/sign-in", json=ADA)).json()["session_token"]
    program.cookies.clear()
    body = {"old_password": ADA["password"], "new_password": "battery staple"}
    answer = await program.post("/api/auth/password", json=body, headers=bearer(second))
    assert answer.status_code == 200
    statuses = [await status_of_me(program, token) for token in (first, second, answer.json()["session_token"])]
    assert statuses == [401, 401, 200]
    assert (await program.post("/api/auth/sign-in", json=ADA)).status_code == 401


async def test_a_wrong_old_password_changes_nothing(program: httpx.AsyncClient) -> None:
    token = (await sign_up(program)).json()["session_token"]
    body = {"old_password": "wrong password", "new_password": "battery staple"}
    answer = await program.post("/api/auth/password", json=body, headers=bearer(token))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "old_password")
    assert await status_of_me(program, token) == 200


async def test_no_session_no_answer(program: httpx.AsyncClient) -> None:
    token = (await sign_up(program)).json()["session_token"]
    program.cookies.clear()
    wrong: list[list[tuple[str, str]]] = [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", f"Basic {token}")],
        [("authorization", token)],
        [("authorization", "Bearer tss_" + "a" * 43)],
        [("authorization", "Bearer ' or 1=1 --")],
        [("authorization", f"Bearer {token}x")],
        [("authorization", f"Bearer {token}, Bearer {token}")],
        [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")],
        [("cookie", "tallystick_session=tss_" + "a" * 43)],
        [("cookie", "tallystick_session=")],
        [("cookie", f"tallystick_session={token}"), ("authorization", "Bearer tss_" + "a" * 43)],
    ]
    for headers in wrong:
        answer = await program.get("/api/auth/me", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), headers
    assert (await program.get("/api/auth/me", headers=[("cookie", f"tallystick_session={token}")])).status_code == 200
    assert (await program.get("/api/auth/me", headers={"authorization": f"bearer {token}"})).status_code == 200


OWN_PAGE = [
    {"sec-fetch-site": "same-origin", "origin": "https://pay.example.com"},
    {"sec-fetch-site": "same-origin"},
    {"origin": "https://pay.example.com"},
]
OTHER_PAGE = [
    {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    {"sec-fetch-site": "same-site", "origin": "https://blog.example.com"},
    {"sec-fetch-site": "cross-site", "origin": "https://pay.example.com"},
    {"sec-fetch-site": "none"},
    {"origin": "https://evil.example"},
    {"origin": "http://pay.example.com"},
    {"origin": "https://pay.example.com:8443"},
    {"origin": "https://pay.example.com.evil.example"},
    {"origin": "null"},
]


async def test_with_the_cookie_only_our_own_pages_change_anything(new_client: Client) -> None:
    browser = new_client(public_url="https://pay.example.com:443/")
    await sign_up(browser)
    body = {"name": "from a page"}
    for headers in [*OTHER_PAGE, {}]:
        answer = await browser.post("/api/keys", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site_request"), headers
        assert (await browser.post("/api/auth/sign-out", headers=headers)).status_code == 403
    for headers in OWN_PAGE:
        assert (await browser.post("/api/keys", json=body, headers=headers)).status_code == 201
    # Reading is free: another site cannot see the answer.
    assert (await browser.get("/api/auth/me", headers=OTHER_PAGE[0])).status_code == 200
    assert len((await browser.get("/api/keys")).json()["keys"]) == len(OWN_PAGE)


async def test_another_site_cannot_sign_a_browser_in(new_client: Client) -> None:
    client = new_client(public_url="https://pay.example.com")
    for path in ("sign-up", "sign-in"):
        for headers in OTHER_PAGE:
            answer = await client.post(f"/api/auth/{path}", json=ADA, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site_request")
    for headers in OWN_PAGE:
        assert (await sign_up(client, email=f"u{len(str(headers))}@example.com")).status_code in {201, 409}


async def test_a_form_of_another_site_is_no_json(program: httpx.AsyncClient) -> None:
    text = '{"email": "ada@example.com", "password": "correct horse"}'
    answer = await program.post("/api/auth/sign-up", content=text, headers={"content-type": "text/plain"})
    assert answer.status_code == 422


async def test_a_bearer_token_is_its_own_proof(new_client: Client) -> None:
    client = new_client(public_url="https://pay.example.com")
    token = (await sign_up(client)).json()["session_token"]
    answer = await client.post("/api/keys", json={"name": "k"}, headers=bearer(token) | OTHER_PAGE[0])
    assert answer.status_code == 201
