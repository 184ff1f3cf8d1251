import asyncio
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Request

from tallystick.api.envelope import Envelope
from tallystick.api.errors import answer_errors
from tallystick.base.errors import InsufficientCreditsError, RateLimited


@pytest.fixture
async def api():
    app = FastAPI()
    answer_errors(app)
    app.add_middleware(Envelope, body_max_bytes=1000, body_timeout_s=0.2)

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, str]:
        return {"said": (await request.body()).decode()}

    @app.get("/defect")
    async def defect() -> None:
        raise ZeroDivisionError("secret detail")

    @app.get("/short")
    async def short() -> None:
        raise InsufficientCreditsError(18_500_000_000, 1)

    @app.get("/later")
    async def later() -> None:
        raise RateLimited("Too many.", 7)

    @app.post("/named")
    async def named(body: dict[str, str]) -> dict[str, str]:
        return body

    @app.get("/typed/{number}")
    async def typed(number: int) -> int:
        return number

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        yield client


async def test_every_answer_has_an_id_and_safe_headers(api):
    answers = [await api.get(path) for path in ("/typed/1", "/none", "/defect", "/short")]
    assert len({UUID(answer.headers["x-request-id"]) for answer in answers}) == 4
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/none", 404, "not_found"),
        ("DELETE", "/echo", 405, "method_not_allowed"),
        ("GET", "/typed/x", 422, "invalid_request"),
        ("GET", "/defect", 500, "internal_error"),
        ("GET", "/short", 402, "insufficient_credits"),
        ("GET", "/later", 429, "rate_limit_exceeded"),
    ],
)
async def test_every_error_has_one_shape(api, method, path, status, code):
    answer = await api.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], bool(error["message"])) == (status, code, True)


async def test_a_body_that_is_no_text_is_refused_like_any_other_that_is_no_json(api):
    answer = await api.post("/named", content=b'{"name": "\xff"}', headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        {"code": "invalid_request", "message": "body must be a JSON object in UTF-8", "field": "body"},
    )


async def test_details_are_told_and_defects_are_not(api):
    assert (await api.get("/short")).json()["error"]["balance"] == 18.5
    assert (await api.get("/typed/x")).json()["error"]["field"] == "number"
    later = await api.get("/later")
    assert (later.headers["retry-after"], later.json()["error"]["retry_after"]) == ("7", 7)
    assert (await api.request("DELETE", "/echo")).headers["allow"] == "POST"
    defect = await api.get("/defect")
    assert "secret detail" not in defect.text
    assert defect.headers["x-request-id"] in defect.json()["error"]["message"]


async def test_a_body_has_a_size(api):
    assert (await api.post("/echo", content=b"x" * 1000)).json() == {"said": "x" * 1000}
    assert (await api.post("/echo", content=b"x" * 1001)).status_code == 413

    async def unannounced():
        for _ in range(11):
            yield b"x" * 100

    answer = await api.post("/echo", content=unannounced())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_body_has_a_time(api):
    async def slow():
        yield b"x"
        await asyncio.sleep(5)
        yield b"x"

    answer = await api.post("/echo", content=slow())
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "request_timeout")


async def test_a_client_that_leaves_reaches_no_route():
    reached, sent = [], []

    async def app(_scope, _receive, _send):
        reached.append(True)

    messages = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    envelope = Envelope(app, body_max_bytes=1000, body_timeout_s=1)
    await envelope({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
    assert (reached, sent) == ([], [])
