import asyncio
import contextlib
import csv
import io
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tallystick.accounts import api_key, organization, user
from tallystick.accounts.authenticate import KeyRing
from tallystick.api.app import create_api
from tallystick.api.dependencies import ApiDependencies
from tallystick.base import strict_json
from tallystick.base.changes import Changes
from tallystick.base.database import open_pool
from tallystick.catalog.book import Book
from tallystick.catalog.plan import Meter
from tallystick.catalog.timeline import Version
from tallystick.reservations.lanes import Lanes

TOKEN = "services-token-0123456789"
SERVICE = {"x-tallystick-services-token": TOKEN}
PUBLISHED_AT = datetime(2026, 1, 1, tzinfo=UTC)
BOOK = Book(
    Version(
        id=number,
        kind="meter",
        name=name,
        effective_from=PUBLISHED_AT,
        document=Meter(name=name, title=name, unit="unit", aggregation=aggregation),
        source="file",
    )
    for number, (name, aggregation) in enumerate((("seats", "max"), ("sessions", "unique")))
)


@pytest.fixture
async def api(dsn):
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(await open_pool(dsn, application="tallystick-api-under-test"))
        lanes, changes = Lanes(dsn), Changes(dsn)
        for part in (lanes, changes):
            await part.start()
            stack.push_async_callback(part.stop)
        app = create_api(
            ApiDependencies(
                pool=pool, lanes=lanes, changes=changes, keyring=KeyRing(pool, changes), book=lambda: BOOK,
                public_url="http://pay.example.com", service_tokens=(TOKEN,),
            )
        )  # fmt: skip
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pay.example.com")
        yield await stack.enter_async_context(client)


@pytest.fixture
async def ada(pool):
    return await user.sign_up(pool, email="ada@example.com", password="correct horse")


@pytest.fixture
async def eve(pool):
    return await user.sign_up(pool, email="eve@example.com", password="correct horse")


def bearer(who):
    return {"authorization": f"Bearer {who.session.token}"}


async def new_key(pool, who):
    async with pool.acquire() as connection:
        return await api_key.create(connection, organization=who.organization_id, name="laptop")


async def send(api, *events, headers=SERVICE):
    return await api.post("/api/usage/events", content=strict_json.dumps({"events": events}), headers=headers)


async def read(api, headers, **query):
    return await api.get("/api/usage", params=query, headers=headers)


def pages(who, name, quantity=1, **fields):
    return {"id": name, "user_id": who.user_id, "meter": "document_page", "quantity": quantity, **fields}


async def test_events_as_documented(api, ada):
    answer = await send(
        api, pages(ada, "run-7", 12), {**pages(ada, "run-8"), "meter": "unheard"}, pages(ada, "run-7", 12)
    )
    assert answer.status_code == 200
    told = answer.json()
    assert (told["succeeded"], told["failed"]) == (2, 1)
    first, wrong, again = told["results"]
    period = first.pop("period")
    assert datetime.fromisoformat(period["from"]) <= datetime.fromisoformat(first.pop("at"))
    assert datetime.fromisoformat(period["to"]) - datetime.fromisoformat(period["from"]) >= timedelta(days=28)
    assert first == {
        "id": "run-7", "outcome": "recorded", "late": False, "units": 12, "over_cap": False, "charge": "0.00"
    }  # fmt: skip
    assert (wrong["outcome"], wrong["status"], wrong["error"]["field"]) == ("refused", 422, "meter")
    assert (again["outcome"], again["units"]) == ("repeated", 12)


async def test_the_documented_example_is_what_the_route_takes(api, ada):
    document = (await api.get("/api/openapi.json")).json()
    operation = document["paths"]["/api/usage/events"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    events = [event | {"user_id": ada.user_id} for event in content["example"]["events"]]
    answer = (await send(api, *events)).json()
    assert [one["outcome"] for one in answer["results"]] == ["recorded", "recorded"]
    shown = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert set(shown["results"][0]) == set(answer["results"][0])
    assert set(shown) == set(answer)
    usage = document["paths"]["/api/usage"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    assert set(usage) == set((await read(api, bearer(ada))).json())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-tallystick-services-token": "wrong-token-0123456789"},
        {"authorization": f"Bearer {TOKEN}"},
    ],
)
async def test_only_services_report_usage(api, ada, pool, headers):
    assert (await send(api, pages(ada, "a"), headers=headers)).status_code == 401
    assert await pool.fetchval("select count(*) from usage_event") == 0


async def test_a_customer_cannot_report_their_own(api, ada, pool):
    key = await new_key(pool, ada)
    for headers in (bearer(ada), {"authorization": f"Bearer {key.secret}"}, {"x-api-key": key.secret}):
        assert (await send(api, pages(ada, "a"), headers=headers)).status_code == 401
    assert await pool.fetchval("select count(*) from usage_event") == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"{}", "events"),
        (b'{"events": {}}', "events"),
        (b'{"events": []}', "events"),
        (b'{"events": [' + b",".join([b"1"] * 1001) + b"]}", "events"),
        (b'{"events": [{"id": "a", "id": "b"}]}', "id"),
        (b'{"events": [{"quantity": NaN}]}', "quantity"),
        (b'{"events": [1], "event": [1]}', "event"),
    ],
)
async def test_a_body_that_is_no_batch_is_422_as_a_whole(api, body, field):
    answer = await api.post("/api/usage/events", content=body, headers=SERVICE)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


@pytest.mark.parametrize("quantity", ["1.0", "1e3", "-1", '"1"', "true", "1000000000000001", "9" * 60, "[]", "{}"])
async def test_a_quantity_that_is_no_whole_number_is_refused_alone(api, ada, quantity):
    body = '{"events": [{"id": "a", "user_id": "%s", "meter": "document_page", "quantity": %s}, %s]}'
    good = strict_json.dumps(pages(ada, "b")).decode()
    answer = await api.post(
        "/api/usage/events", content=(body % (ada.user_id, quantity, good)).encode(), headers=SERVICE
    )
    wrong, right = answer.json()["results"]
    assert (wrong["status"], wrong["error"]["field"], right["outcome"]) == (422, "quantity", "recorded")


async def test_properties_are_kept_exactly(api, ada, pool):
    written = (
        '{"note": "a \\"b\\"", "most": 100000000000000000000000000000, "share": 0.1000, "tiny": 1E-50, "no": null}'
    )
    body = f'{{"events": [{strict_json.dumps(pages(ada, "a")).decode()[:-1]}, "properties": {written}}}]}}'
    answer = await api.post("/api/usage/events", content=body.encode(), headers=SERVICE)
    assert answer.json()["succeeded"] == 1
    assert await pool.fetchval("select properties = $1::jsonb from usage_event", written)


async def test_a_thousand_events_of_many_customers_at_once(api, pool):
    async with pool.acquire() as connection:
        many = [(await organization.create(connection, name=f"Customer {n}")).id for n in range(40)]
    events = [
        {"id": f"e{n}", "organization": many[n % 40], "meter": "document_page", "quantity": n} for n in range(1000)
    ]
    answers = await asyncio.gather(send(api, *events), send(api, *reversed(events)), send(api, *events[::2]))
    outcomes = [one["outcome"] for answer in answers for one in answer.json()["results"]]
    assert (outcomes.count("recorded"), outcomes.count("repeated")) == (1000, 1500)
    assert await pool.fetchval("select sum(increase) from usage_event") == sum(range(1000))


async def test_usage_as_documented(api, ada):
    await send(
        api, pages(ada, "a", 12, model="ocr"), {"id": "b", "user_id": ada.user_id, "meter": "agent_sessions"},
        {"id": "c", "user_id": ada.user_id, "meter": "seats", "quantity": 4},
        {"id": "d", "user_id": ada.user_id, "meter": "sessions", "session": "s-1"},
        {"id": "e", "user_id": ada.user_id, "meter": "sessions", "session": "s-1"},
    )  # fmt: skip
    told = (await read(api, bearer(ada))).json()
    assert (told["organization"], told["group_by"], told["charge"]) == (ada.organization_id, "meter", "0.00")
    assert told["usage"] == [
        {"meter": "agent_sessions", "units": 1, "charge": "0.00"},
        {"meter": "document_page", "units": 12, "charge": "0.00"},
        {"meter": "seats", "units": 4, "charge": "0.00"},
        {"meter": "sessions", "units": 1, "charge": "0.00"},
    ]
    by_model = (await read(api, bearer(ada), group_by="model", meter="document_page")).json()
    assert by_model["usage"] == [{"model": "ocr", "meter": "document_page", "units": 12, "charge": "0.00"}]


async def test_a_key_a_session_and_a_service_read_the_same(api, ada, pool):
    await send(api, pages(ada, "a", 12))
    key = (await new_key(pool, ada)).secret
    told = [
        (await read(api, bearer(ada))).json(),
        (await read(api, {"authorization": f"Bearer {key}"})).json(),
        (await read(api, {"x-api-key": key})).json(),
        (await read(api, SERVICE, user_id=ada.user_id)).json(),
        (await read(api, SERVICE, user_id=ada.organization_id)).json(),
    ]
    assert told[0]["usage"][0]["units"] == 12
    assert all(one == told[0] for one in told)


async def test_nobody_reads_another_customers_usage(api, ada, eve, pool):
    await send(api, pages(ada, "a", 12))
    key = {"authorization": f"Bearer {(await new_key(pool, eve)).secret}"}
    for whose in (ada.user_id, ada.organization_id):
        for headers in (bearer(eve), key):
            assert (await read(api, headers, user_id=whose)).status_code == 404
    assert (await read(api, bearer(eve), organization=ada.organization_id)).status_code == 404
    for headers in (bearer(eve), key):
        assert (await read(api, headers)).json()["usage"] == []
    assert (await read(api, {})).status_code == 401
    assert (await read(api, {"x-tallystick-services-token": "wrong", **bearer(ada)})).status_code == 401


async def test_an_event_never_counts_for_someone_else(api, ada, eve):
    await send(api, pages(ada, "a", 12))
    stolen = (await send(api, pages(eve, "a", 3))).json()["results"][0]
    assert (stolen["outcome"], stolen["units"]) == ("recorded", 3), "an id is an organization's own"
    assert (await read(api, bearer(ada))).json()["usage"][0]["units"] == 12


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"group_by": "provider"}, "group_by"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": "2026-01-01", "to": "2028-01-01"}, "from"),
        ({"format": "xml"}, "format"),
        ({"meter": "a\x00b"}, "meter"),
        ({"from": "2026-01-01\x00"}, "from"),
    ],
)
async def test_a_query_that_is_wrong_is_422_naming_it(api, ada, query, field):
    answer = await read(api, bearer(ada), **query)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


async def test_csv_computes_nothing(api, ada):
    await send(api, pages(ada, "a", 12, model='=HYPERLINK("http://evil.example.com")'), pages(ada, "b", model="@sum"))
    answer = await read(api, bearer(ada), group_by="model", format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="usage-')
    assert [*csv.reader(io.StringIO(answer.text))] == [
        ["model", "meter", "units", "charge"],
        ['\'=HYPERLINK("http://evil.example.com")', "document_page", "12", "0.00"],
        ["'@sum", "document_page", "1", "0.00"],
    ]
