"""Somebody's own application with gates, on both kinds of Tallystick."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from tallystick import Tallystick, TallystickError, idempotency_key, require_tier
from tests.patience import eventually

FEATURE = "ad_generations"


class Brief(BaseModel):
    words: int


def current_user(request: Request) -> str:
    if "x-user" not in request.headers:
        raise HTTPException(401, "Who are you?")
    return request.headers["x-user"]


def routes(app):
    gate = Depends(require_tier(FEATURE))

    @app.post("/ads")
    async def ads(_: Annotated[bool, gate]):
        return {"ad": "Buy!"}

    @app.post("/sync")
    def sync(_: bool = Depends(require_tier(FEATURE))):
        return {"ad": "Buy!"}

    @app.post("/fails")
    async def fails(_: Annotated[bool, gate]):
        raise RuntimeError("no idea came")

    @app.post("/refuses/{status}")
    async def refuses(status: int, _: Annotated[bool, gate]):
        raise HTTPException(status)

    @app.post("/answers/{status}")
    async def answers(status: int, _: Annotated[bool, gate]):
        return JSONResponse({}, status)

    @app.post("/only-5xx/{status}")
    async def only_5xx(status: int, _: Annotated[bool, Depends(require_tier(FEATURE, give_back="on_5xx"))]):
        return JSONResponse({}, status)

    @app.post("/never")
    async def never(_: Annotated[bool, Depends(require_tier(FEATURE, give_back="never"))]):
        raise RuntimeError("no idea came")

    @app.post("/brief")
    async def brief(body: Brief, _: Annotated[bool, gate]):
        return body

    @app.post("/stream")
    async def stream(_: Annotated[bool, gate]):
        async def words():
            yield b"one "
            raise RuntimeError("no second word came")

        return StreamingResponse(words())

    @app.post("/weighted")
    async def weighted(_: Annotated[bool, Depends(require_tier(FEATURE, units=2))]):
        return {}

    def asked_for(ads: int) -> int:
        return ads

    @app.post("/counted")
    async def counted(_: Annotated[bool, Depends(require_tier(FEATURE, units=asked_for))]):
        return {}

    @app.post("/once")
    async def once(_: Annotated[bool, Depends(require_tier(FEATURE, request_id=idempotency_key))], fail: bool = False):
        if fail:
            raise HTTPException(503)
        return {}

    @app.post("/both")
    async def both(
        _: Annotated[bool, Depends(require_tier("exports", request_id=idempotency_key, give_back="never"))],
        __: Annotated[bool, Depends(require_tier(FEATURE, request_id=idempotency_key))],
    ):
        return {}

    @app.post("/typo")
    async def typo(_: Annotated[bool, Depends(require_tier("ad_generation"))]):
        return {}

    @app.post("/slow")
    async def slow(_: Annotated[bool, gate]):
        await asyncio.sleep(3600)

    @app.get("/open")
    async def ungated():
        return {}


@contextlib.asynccontextmanager
async def client_of(app, user=None):
    """With the application's start and end around it, as a server does them."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {} if user is None else {"x-user": user}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app.example.com", headers=headers) as client,
    ):
        yield client


def application(tally, user=current_user):
    app = FastAPI()
    tally.install(app, user=user)
    routes(app)
    return app


@pytest.fixture
async def customer(closed_tally, new_customer):
    return await new_customer()


@pytest.fixture
async def app(closed_tally, customer):
    async with client_of(application(closed_tally), customer) as client:
        yield client


@pytest.fixture
def used(closed_tally, customer):
    async def of(feature=FEATURE):
        return (await closed_tally.usage(customer)).usage[feature].used

    return of


async def test_the_seeds_words_work_until_the_quota_is_used_up(app, used):
    for n in (1, 2, 3):
        answer = await app.post("/ads")
        assert (answer.status_code, answer.json()) == (200, {"ad": "Buy!"})
        shown = {name: value for name, value in answer.headers.items() if name.startswith("x-quota")}
        reset = datetime.fromisoformat(shown.pop("x-quota-reset"))
        assert shown == {"x-quota-limit": "3", "x-quota-used": str(n), "x-quota-remaining": str(3 - n)}
        assert 29 <= (reset - datetime.now(UTC)).days <= 30
    refused = await app.post("/sync")
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert error.pop("message")
    retry_at = datetime.fromisoformat(error.pop("retry_at"))
    assert error == {
        "code": "quota_exceeded", "limit_source": "quota", "name": FEATURE, "feature": FEATURE,
        "limit": 3, "used": 3, "remaining": 0,
    }  # fmt: skip
    assert retry_at == reset
    wait_s = int(refused.headers["retry-after"])
    assert 0 <= wait_s - (retry_at - datetime.now(UTC)).total_seconds() < 5
    assert refused.headers["x-quota-remaining"] == "0"
    assert refused.headers["x-quota-used"] == "3"
    assert await used() == 3


async def test_retry_after_is_a_second_at_least(app, age):
    for _ in range(3):
        await app.post("/ads")
    # All of them leave the window within the second.
    await age(30 - 0.3 / 86_400)
    answer = await app.post("/ads")
    assert answer.status_code == 200 or answer.headers["retry-after"] == "1"


async def test_sixty_four_clients_at_a_time(closed_tally, new_customer):
    customer = await new_customer("pro")
    async with client_of(application(closed_tally), customer) as client:
        answers = await asyncio.gather(*(client.post("/ads") for _ in range(64)))
        assert sorted(answer.status_code for answer in answers) == [200] * 12 + [429] * 52
        assert (await closed_tally.usage(customer)).usage[FEATURE].used == 12


@pytest.mark.parametrize(
    ("path", "status", "counts"),
    [
        ("/fails", 500, 0),
        ("/refuses/404", 404, 0),
        ("/refuses/500", 500, 0),
        ("/answers/201", 201, 1),
        ("/answers/302", 302, 1),
        ("/answers/400", 400, 0),
        ("/answers/503", 503, 0),
        ("/only-5xx/404", 404, 1),
        ("/only-5xx/500", 500, 0),
        ("/never", 500, 1),
        ("/stream", 200, 1),
    ],
)
async def test_what_comes_to_nothing_is_given_back(app, used, path, status, counts):
    answer = await app.post(path)
    assert answer.status_code == status
    assert await used() == counts
    if path.startswith("/answers"):
        assert answer.headers["x-quota-used"] == str(counts)


async def test_a_body_that_is_wrong_costs_nothing(app, used):
    assert (await app.post("/brief", json={"words": "many"})).status_code == 422
    assert await used() == 0
    assert (await app.post("/brief", json={"words": 5})).status_code == 200
    assert await used() == 1


async def test_a_request_that_is_cancelled_costs_nothing(closed_tally, customer):
    app = application(closed_tally)
    async with client_of(app, customer) as client:
        asked = asyncio.create_task(client.post("/slow"))

        async def counted():
            return (await closed_tally.usage(customer)).usage[FEATURE].used > 0

        await eventually(counted)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert (await closed_tally.usage(customer)).usage[FEATURE].used == 0


async def test_weights(app, used):
    assert (await app.post("/weighted")).headers["x-quota-remaining"] == "1"
    assert (await app.post("/weighted")).status_code == 429
    assert await used() == 2
    assert (await app.post("/counted?ads=1")).headers["x-quota-remaining"] == "0"
    assert (await app.post("/counted?ads=0")).status_code == 422
    assert (await app.post("/counted?ads=4")).headers.get("retry-after") is None, "no waiting helps"


async def test_an_idempotency_key_counts_once(app, used):
    key = {"idempotency-key": "job-1"}
    for _ in range(5):
        assert (await app.post("/once", headers=key)).status_code == 200
    assert await used() == 1
    await app.post("/once", headers={"idempotency-key": "job-2"})
    await app.post("/once")
    assert await used() == 3
    assert (await app.post("/once")).status_code == 429
    assert (await app.post("/once", headers=key)).status_code == 200, "it has paid already"


async def test_an_idempotency_key_is_repeated_for_nothing_after_a_failure(app, used):
    key = {"idempotency-key": "job-1"}
    assert (await app.post("/once?fail=true", headers=key)).status_code == 503
    assert (await app.post("/once", headers=key)).status_code == 200
    assert (await app.post("/once?fail=true", headers=key)).status_code == 503
    assert await used() == 1


async def test_one_that_fails_gives_nobody_a_use_for_nothing(app, used):
    """Whoever sends everything several times at once, some of it made to fail, pays for the one that does not."""
    key = {"idempotency-key": "job-1"}
    paths = ["/once?fail=true"] * 16 + ["/once"] + ["/once?fail=true"] * 15
    answers = await asyncio.gather(*(app.post(path, headers=key) for path in paths))
    assert sorted(answer.status_code for answer in answers) == [200] + [503] * 31
    assert await used() == 1


async def test_an_application_may_answer_refusals_itself(closed_tally, customer):
    app = FastAPI()

    @app.exception_handler(TallystickError)
    async def refused(_request, error):
        return JSONResponse({"sorry": error.code}, 418)

    closed_tally.install(app, user=current_user)
    routes(app)
    async with client_of(app, customer) as client:
        answer = await client.post("/counted?ads=4")
    assert (answer.status_code, answer.json()) == (418, {"sorry": "quota_exceeded"})


async def test_two_gates_are_two_uses_or_none(app, used):
    key = {"idempotency-key": "job-1"}
    assert (await app.post("/both", headers=key)).headers["x-quota-remaining"] == "2"
    assert (await used("exports"), await used()) == (1, 1)
    await app.post("/weighted")
    refused = await app.post("/both")
    assert refused.status_code == 429
    assert (await used("exports"), await used()) == (1, 3), "what another gate refused was not used"


async def test_nobody_is_asked_for_a_user_where_nothing_is_gated(app):
    answer = await app.get("/open", headers={"x-user": ""})
    assert answer.status_code == 200
    assert "x-quota-used" not in answer.headers


async def test_refusals_of_the_applications_own_are_its_own(app, used):
    del app.headers["x-user"]
    answer = await app.post("/ads")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Who are you?"})
    assert await used() == 0


async def test_a_user_whom_nobody_knows(app):
    answer = await app.post("/ads", headers={"x-user": "user_nobody"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_a_gate_of_an_unknown_feature_stays_closed(app):
    answer = await app.post("/typo")
    assert answer.status_code == 500
    assert "ad_generation" in answer.json()["error"]["message"]


async def test_unlimited_has_only_what_is_used(closed_tally, new_customer):
    async with client_of(application(closed_tally), await new_customer("enterprise")) as client:
        answer = await client.post("/ads")
    assert {name: value for name, value in answer.headers.items() if name.startswith("x-quota")} == {
        "x-quota-used": "1"
    }


async def test_an_application_without_a_tallystick_says_so():
    app = FastAPI()
    routes(app)
    async with client_of(app) as client:
        with pytest.raises(Exception, match=r"tally\.install"):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as strict:
                await strict.post("/ads")
        assert (await client.post("/ads")).status_code == 500


async def test_any_dependency_says_who_the_user_is(closed_tally, customer):
    async def token(x_user: Annotated[str, Header()]) -> str:
        return x_user

    async def user_of_token(found: Annotated[str, Depends(token)]) -> str:
        return found

    app = application(closed_tally, user=user_of_token)
    async with client_of(app, customer) as client:
        assert (await client.post("/ads")).headers["x-quota-used"] == "1"
        assert (await client.post("/ads", headers={"x-user": ""})).status_code in {404, 422}
        # An application's tests override its own dependencies as they are used to.
        app.dependency_overrides[user_of_token] = lambda: customer
        del client.headers["x-user"]
        assert (await client.post("/ads")).headers["x-quota-used"] == "2"


async def test_a_function_of_the_request_may_be_async(closed_tally, customer):
    async def user(request):
        return request.headers["x-user"]

    async with client_of(application(closed_tally, user=user), customer) as client:
        assert (await client.post("/ads")).status_code == 200


async def test_a_gate_may_have_a_user_of_its_own(closed_tally, customer, new_customer):
    team = await new_customer("enterprise")
    app = application(closed_tally)

    @app.post("/team")
    async def for_the_team(_: Annotated[bool, Depends(require_tier(FEATURE, user=lambda: team))]):
        return {}

    async with client_of(app, customer) as client:
        assert "x-quota-limit" not in (await client.post("/team")).headers


async def test_the_application_opens_and_closes_it(closed_tally, customer):
    seen = []

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        seen.append(closed_tally.is_open)
        yield {"said": "in the application's own lifespan"}
        seen.append(closed_tally.is_open)

    app = FastAPI(lifespan=lifespan)
    closed_tally.install(app, user=current_user)

    @app.get("/said")
    async def said(request: Request):
        return request.state.said

    assert not closed_tally.is_open
    async with client_of(app, customer):
        assert closed_tally.is_open
    assert not closed_tally.is_open
    assert seen == [True, True]


async def test_one_that_is_open_already_stays_open(closed_tally, customer):
    async with closed_tally:
        async with client_of(application(closed_tally), customer) as client:
            assert (await client.post("/ads")).status_code == 200
        assert closed_tally.is_open


async def test_a_mounted_application_is_gated_by_its_parents(closed_tally, customer):
    app, inner = application(closed_tally), FastAPI()

    @inner.post("/ads")
    async def ads(_: Annotated[bool, Depends(require_tier(FEATURE))]):
        return {}

    app.mount("/inner", inner)
    async with client_of(app, customer) as client:
        assert (await client.post("/inner/ads")).headers["x-quota-used"] == "1"


async def test_with_the_server_away_gates_are_closed_and_say_when_to_come_back():
    app = application(Tallystick.connect("http://127.0.0.1:9", service_token="x"))
    async with client_of(app, "org_1") as client:
        answer = await client.post("/ads")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
