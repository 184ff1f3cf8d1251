"""/api/tier/* and the charges of /api/usage/*, field by field."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tallystick.accounts import api_key, user
from tallystick.accounts.authenticate import KeyRing
from tallystick.accounts.organization import OrganizationState, change
from tallystick.api.app import create_api
from tallystick.api.dependencies import ApiDependencies
from tallystick.base.changes import Changes
from tallystick.catalog.publish import apply
from tallystick.catalog.read import load_book
from tallystick.reservations.lanes import Lanes
from tallystick.subscriptions.subscribe import subscribe

SERVICE = {"x-tallystick-services-token": "service-token-of-the-tests"}
CATALOG = """
[[feature]]
name = "ad_generations"
title = "Ad generations"
limits = { free = 3, pro = 100, enterprise = "unlimited" }

[[feature]]
name = "brand_analyses"
title = "Brand analyses"
limits = { free = 5, pro = 50, enterprise = "unlimited" }

[[plan]]
slug = "pro"
name = "Pro"
strategy = "custom"
price = 99
tier = "pro"
charges_models = true

[[plan.meters]]
meter = "document_page"
cap = 20

[[plan]]
slug = "enterprise"
name = "Enterprise"
strategy = "flat"
price = 999
tier = "enterprise"
"""


@pytest.fixture
async def ada(pool):
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=datetime.now(UTC), dry_run=False)
    return await user.sign_up(pool, email="ada@example.com", password="correct horse")


@pytest.fixture
async def api(dsn, pool, ada):
    async with pool.acquire() as connection:
        book = await load_book(connection, lambda _reference: None)
    lanes, changes = Lanes(dsn), Changes(dsn)
    await lanes.start()
    app = create_api(
        ApiDependencies(
            pool=pool, lanes=lanes, changes=changes, keyring=KeyRing(pool, changes), book=lambda: book,
            public_url="http://pay.example.com", service_tokens=("service-token-of-the-tests",),
        )
    )  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pay.example.com") as client:
        yield client
    await lanes.stop()


@pytest.fixture
def session(ada):
    return {"authorization": f"Bearer {ada.session.token}"}


@pytest.fixture
def on_plan(pool, ada):
    async def subscribed(plan):
        async with pool.acquire() as connection:
            await subscribe(connection, ada.organization_id, plan, trial_days=0)

    return subscribed


@pytest.fixture
def use(api, ada):
    async def one(feature="ad_generations", **fields):
        return await api.post(
            "/api/tier/use", headers=SERVICE, json={"user_id": ada.user_id, "feature": feature, **fields}
        )

    return one


async def test_usage_is_the_seeds_answer_field_by_field(api, session, on_plan, use):
    await on_plan("pro")
    await use(units=42)
    await use("brand_analyses", units=12)
    answer = await api.get("/api/tier/usage", headers=session)
    assert answer.status_code == 200
    told = answer.json()
    start, end = told["period_start"], told["period_end"]
    assert list(told) == ["tier", "usage", "period_start", "period_end"]
    assert told["tier"] == "pro"
    assert told["usage"] == {
        "ad_generations": {"used": 42, "limit": 100, "remaining": 58},
        "brand_analyses": {"used": 12, "limit": 50, "remaining": 38},
    }
    assert [list(feature) for feature in told["usage"].values()] == [["used", "limit", "remaining"]] * 2
    for moment in (start, end):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)
    assert datetime.fromisoformat(end) - datetime.fromisoformat(start) == timedelta(days=30)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(end)) < timedelta(minutes=1)


async def test_unlimited_is_null(api, session, on_plan, use):
    await on_plan("enterprise")
    used = (await use(units=7)).json()
    assert (used["used"], used["limit"], used["remaining"], used["resets_at"]) == (7, None, None, None)
    told = (await api.get("/api/tier/usage", headers=session)).json()
    assert told["tier"] == "enterprise"
    assert told["usage"]["ad_generations"] == {"used": 7, "limit": None, "remaining": None}


async def test_without_a_subscription_the_tier_is_free(api, session):
    told = (await api.get("/api/tier/usage", headers=session)).json()
    assert told["tier"] == "free"
    assert told["usage"]["ad_generations"] == {"used": 0, "limit": 3, "remaining": 3}


async def test_check_says_whether_the_next_use_is_admitted(api, session, use):
    answer = await api.get("/api/tier/check", params={"feature": "ad_generations"}, headers=session)
    assert answer.json() == {
        "feature": "ad_generations", "tier": "free", "allowed": True,
        "used": 0, "limit": 3, "remaining": 3, "retry_at": None, "reason": None,
    }  # fmt: skip
    used = (await use(units=3)).json()
    told = (await api.get("/api/tier/check", params={"feature": "ad_generations"}, headers=session)).json()
    assert (told["allowed"], told["used"], told["remaining"], told["retry_at"]) == (False, 3, 0, used["resets_at"])
    assert told["reason"]


@pytest.mark.parametrize(
    "params", [{}, {"feature": "typo"}, {"feature": ""}, {"feature": "ad_generations", "units": 0}]
)
async def test_check_refuses_what_it_does_not_know(api, session, params):
    answer = await api.get("/api/tier/check", params=params, headers=session)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] in {"feature", "units"}


async def test_a_use_is_counted_once_for_each_request_id(api, ada, use):
    first = await use(request_id="job-1")
    assert first.status_code == 200
    told = first.json()
    assert set(told) == {"id", "feature", "units", "used", "limit", "remaining", "resets_at", "repeated"}
    assert (told["used"], told["limit"], told["remaining"], told["repeated"]) == (1, 3, 2, False)
    again = (await use(request_id="job-1")).json()
    assert again == {**told, "repeated": True}
    other = await use(request_id="job-1", units=2)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "hold_conflict")


async def test_a_refusal_tells_everything_and_when_to_come_back(use):
    used = (await use(units=3)).json()
    refused = await use()
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert error.pop("message")
    assert error == {
        "code": "quota_exceeded", "limit_source": "quota", "name": "ad_generations", "feature": "ad_generations",
        "limit": 3, "used": 3, "remaining": 0, "retry_at": used["resets_at"],
    }  # fmt: skip
    wait_s = int(refused.headers["retry-after"])
    assert wait_s >= 1
    left_s = (datetime.fromisoformat(used["resets_at"]) - datetime.now(UTC)).total_seconds()
    assert 0 <= wait_s - left_s < 60
    assert "retry-after" not in (await use(units=4)).headers, "no waiting helps"


async def test_sixty_four_services_at_a_time(use, on_plan):
    await on_plan("pro")
    answers = await asyncio.gather(*(use("brand_analyses") for _ in range(64)))
    assert sorted(answer.status_code for answer in answers) == [200] * 50 + [429] * 14
    assert sorted(answer.json()["used"] for answer in answers if answer.status_code == 200) == list(range(1, 51))


async def test_given_back(api, ada, pool, use):
    told = (await use(units=3)).json()
    other = await user.sign_up(pool, email="grace@example.com", password="correct horse")

    async def give_back(user_id, use_id=told["id"]):
        return await api.post("/api/tier/give-back", headers=SERVICE, json={"user_id": user_id, "id": use_id})

    assert (await give_back(other.user_id)).status_code == 404
    assert (await give_back(ada.user_id, "nothing")).status_code == 404
    assert (await use()).status_code == 429
    for _ in range(2):
        assert (await give_back(ada.user_id)).json() == {"given_back": True}
    assert (await use()).json()["used"] == 1


async def test_who_may_read(api, ada, pool, session):
    async with pool.acquire() as connection:
        key = await api_key.create(connection, organization=ada.organization_id, name="laptop")
    other = await user.sign_up(pool, email="grace@example.com", password="correct horse")

    async def status(headers, **params):
        return (await api.get("/api/tier/usage", headers=headers, params=params)).status_code

    for headers in (
        session,
        {"authorization": f"Bearer {key.secret}"},
        {"x-api-key": key.secret},
    ):
        assert await status(headers) == 200
        assert await status(headers, user_id=ada.organization_id) == 200
        assert await status(headers, user_id=other.organization_id) == 404
    assert await status(SERVICE, user_id=ada.user_id) == 200
    assert await status(SERVICE, user_id="user_nobody") == 404
    assert await status(SERVICE) == 422
    assert await status({}) == 401
    assert await status({"authorization": "Bearer tsk_" + "0" * 43}) == 401
    assert await status({"x-api-key": key.secret, **session}) == 401
    assert await status({"x-tallystick-services-token": "a-wrong-token-of-length"}, user_id=ada.user_id) == 401
    async with pool.acquire() as connection:
        await change(connection, ada.organization_id, state=OrganizationState.SUSPENDED, default_max_tokens=None)
    assert await status({"x-api-key": key.secret}) == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/tier/use", {"feature": "ad_generations"}),
        ("/api/tier/give-back", {"id": "0193a1c2-0000-7000-8000-000000000000"}),
        ("/api/usage/reserve", {"meter": "document_page", "quantity": 1}),
        ("/api/usage/settle", {"id": "0193a1c2-0000-7000-8000-000000000000"}),
        ("/api/usage/release", {"id": "0193a1c2-0000-7000-8000-000000000000"}),
    ],
)
async def test_only_services_count_and_charge(api, ada, session, path, body):
    body = {"user_id": ada.user_id, **body}
    assert (await api.post(path, headers=session, json=body)).status_code == 401
    assert (await api.post(path, json=body)).status_code == 401
    misspelt = await api.post(path, headers=SERVICE, json={**body, "requestid": "job-1"})
    assert (misspelt.status_code, misspelt.json()["error"]["field"]) == (422, "requestid")


@pytest.mark.parametrize("units", [0, -1, 1.5, "1", True, 10**16, 10**30])
async def test_units_are_whole_numbers(use, units):
    assert (await use(units=units)).status_code == 422


@pytest.mark.parametrize("field", ["user_id", "feature", "request_id"])
@pytest.mark.parametrize("value", ["", "a\x00b", "x" * 300, "\ud800", 7, ["a"]])
async def test_texts_that_are_none_are_refused(api, ada, field, value):
    body = {"user_id": ada.user_id, "feature": "ad_generations", "request_id": "job-1", field: value}
    # httpx would refuse to write half a surrogate pair.
    answer = await api.post(
        "/api/tier/use", headers={**SERVICE, "content-type": "application/json"}, content=json.dumps(body)
    )
    assert answer.status_code in {404, 422}


async def test_metered_work_is_held_settled_and_released(api, ada, on_plan):
    await on_plan("pro")

    async def post(path, **body):
        return await api.post(f"/api/usage/{path}", headers=SERVICE, json={"user_id": ada.user_id, **body})

    held = (await post("reserve", meter="document_page", quantity=12, request_id="job-1")).json()
    assert set(held) == {"id", "meter", "quantity", "layer", "amount", "repeated"}
    assert (held["meter"], held["quantity"], held["amount"], held["repeated"]) == ("document_page", 12, 0, False)
    again = await post("reserve", meter="document_page", quantity=12, request_id="job-1")
    assert again.json() == {**held, "repeated": True}
    refused = await post("reserve", meter="document_page", quantity=9)
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["code"], error["name"], error["limit"], error["used"]) == ("quota_exceeded", "document_page", 20, 12)
    assert int(refused.headers["retry-after"]) >= 1
    settled = await post("settle", id=held["id"], quantity=5)
    assert settled.json() == {
        "id": held["id"], "meter": "document_page", "quantity": 5, "charged": 0, "balance": 0, "available": 0,
    }  # fmt: skip
    assert (await post("settle", id=held["id"], quantity=5)).json() == settled.json()
    other_quantity = await post("settle", id=held["id"], quantity=4)
    assert (other_quantity.status_code, other_quantity.json()["error"]["code"]) == (409, "hold_conflict")
    assert (await post("release", id=held["id"])).status_code == 409
    other = (await post("reserve", meter="document_page", quantity=15)).json()
    assert (await post("release", id=other["id"])).json() == {"released": True}
    assert (await post("settle", id=other["id"])).status_code == 409
    assert (await post("settle", id="nothing")).status_code == 404
    assert (await post("reserve", meter="pages", quantity=1)).json()["error"]["field"] == "meter"


async def test_metered_work_is_in_the_report_of_usage_whoever_limits_it(api, ada, session):
    """Nobody subscribed: no plan limits or prices these meters."""
    for meter, quantity in (("document_page", 7), ("image_generation", 3)):
        body = {"user_id": ada.user_id, "meter": meter, "quantity": quantity + 1}
        held = (await api.post("/api/usage/reserve", headers=SERVICE, json=body)).json()
        settle = {"user_id": ada.user_id, "id": held["id"], "quantity": quantity}
        assert (await api.post("/api/usage/settle", headers=SERVICE, json=settle)).status_code == 200
    body = {"user_id": ada.user_id, "meter": "document_page", "quantity": 100}
    given_up = (await api.post("/api/usage/reserve", headers=SERVICE, json=body)).json()
    await api.post("/api/usage/release", headers=SERVICE, json={"user_id": ada.user_id, "id": given_up["id"]})
    report = (await api.get("/api/usage", headers=session)).json()["usage"]
    assert {line["meter"]: line["units"] for line in report} == {"document_page": 7, "image_generation": 3}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/tier/use", '{"user_id": "%s", "feature": "ad_generations", "units": 1, "units": 5}'),
        ("/api/tier/give-back", '{"user_id": "%s", "id": "a", "id": "b"}'),
        ("/api/usage/reserve", '{"user_id": "%s", "meter": "document_page", "quantity": 1, "quantity": 9}'),
        ("/api/usage/settle", '{"user_id": "%s", "id": "a", "quantity": 1, "quantity": 0}'),
        ("/api/usage/release", '{"user_id": "%s", "id": "a", "id": "b"}'),
        ("/api/usage/reserve", '{"user_id": "%s", "meter": "document_page", "quantity": ' + "9" * 5000 + "}"),
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(api, ada, pool, path, body):
    headers = SERVICE | {"content-type": "application/json"}
    answer = await api.post(path, headers=headers, content=body % ada.user_id)
    assert answer.status_code in {400, 422}
    assert await pool.fetchval("select count(*) from hold") == 0
