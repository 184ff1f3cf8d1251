"""The audit log over HTTP: one's own organization's, page by page."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import httpx
import pytest

from tallystick.accounts import api_key
from tallystick.ledger.audit import record
from tallystick.ledger.audit_log import Filter, newest
from tallystick.ledger.seal import seal
from tests.api.test_keys import person

Client = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def ada(new_client: Client) -> httpx.AsyncClient:
    return await person(new_client, "ada")


async def organization_of(client: httpx.AsyncClient) -> str:
    return str((await client.get("/api/auth/me")).json()["organizations"][0]["id"])


async def test_what_was_done_is_there_with_the_block_that_vouches_for_it(
    ada: httpx.AsyncClient, new_client: Client, pool: asyncpg.Pool
) -> None:
    eve = await person(new_client, "eve")
    organization = await organization_of(ada)
    async with pool.acquire() as connection:
        await record(
            connection, "order.approved", by="operator:bob", subject="ord_1", organization=organization,
            before={"state": "paid"}, after={"state": "credited"},
        )  # fmt: skip
    (event,) = (await ada.get("/api/audit", params={"act": "order.*"})).json()["events"]
    assert (event["act"], event["by"], event["subject"], event["block_hash"]) == (
        "order.approved", "operator", "ord_1", None,
    )  # fmt: skip
    assert (event["before"], event["after"]) == ({"state": "paid"}, {"state": "credited"})
    await seal(pool)
    (event,) = (await ada.get("/api/audit", params={"act": "order.approved"})).json()["events"]
    block = await pool.fetchrow("select number, encode(hash, 'hex') as hash from ledger_block")
    assert (event["block"], event["block_hash"]) == (block["number"], block["hash"])
    assert "ord_1" not in (await eve.get("/api/audit")).text


async def test_acts_over_http_tell_who_did_them_and_from_where(ada: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    made = (await ada.post("/api/keys", json={"name": "CI"})).json()
    events = (await ada.get("/api/audit", params={"subject": made["id"]})).json()["events"]
    assert [(e["act"], e["by"], e["origin"]) for e in events] == [
        ("key.created", ada.headers["x-test-user"], "127.0.0.1")
    ]
    assert made["key"] not in (await ada.get("/api/audit")).text


async def test_customers_are_not_told_which_operator_it_was(ada: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    organization = await organization_of(ada)
    quoted = 'see "approved_by":"operator:x" above'
    async with pool.acquire() as connection:
        await record(
            connection, "order.credited", by="operator:bob", subject="ord_1", organization=organization,
            before={"first_approved_by": "operator:bob", "approved_by": None},
            after={"approved_by": "operator:carol", "created_by": "user_1", "credits": Decimal("2500.10"),
                   "proof": "seen by bob", "reason": quoted, "source": "operator:bob"},
        )  # fmt: skip
        await api_key.create(connection, organization=organization, name="backend", by="operator:bob")
        (told,) = await newest(connection, Filter(act="order.credited"))
    assert (told.by, json.loads(bytes(told.after or b""))["approved_by"]) == ("operator:bob", "operator:carol")
    (event,) = (await ada.get("/api/audit", params={"act": "order.credited"})).json(parse_float=str)["events"]
    assert event["by"] == "operator"
    assert event["before"] == {"first_approved_by": "operator", "approved_by": None}
    assert event["after"] == {
        "approved_by": "operator", "created_by": "user_1", "credits": "2500.10", "reason": quoted,
        "source": "operator",
    }  # fmt: skip
    for path in ("/api/audit", "/api/keys"):
        answer = (await ada.get(path)).text
        assert "bob" not in answer
        assert "carol" not in answer
    (key,) = (await ada.get("/api/keys")).json()["keys"]
    assert key["created_by"] == "operator"


async def test_it_is_read_page_by_page_and_by_time(ada: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    organization = await organization_of(ada)
    async with pool.acquire() as connection:
        for n in range(5):
            await record(connection, "test.done", by="clock", subject=f"s{n}", organization=organization)
    asked, cursor, seen = {"act": "test.done", "limit": 2}, None, []
    for _ in range(3):
        page = (await ada.get("/api/audit", params=asked | ({"cursor": cursor} if cursor else {}))).json()
        seen += [event["subject"] for event in page["events"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (["s4", "s3", "s2", "s1", "s0"], None)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert (await ada.get("/api/audit", params={"since": tomorrow})).json()["events"] == []
    assert len((await ada.get("/api/audit", params={"until": tomorrow, "act": "test.*"})).json()["events"]) == 5


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": 10**9}, {"cursor": "x"}, {"cursor": "9" * 30}, {"act": "\0"}, {"act": "*"},
     {"act": "order*"}, {"subject": "x" * 500}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}],
)  # fmt: skip
async def test_bad_fields_are_refused(ada: httpx.AsyncClient, wrong: dict[str, object]) -> None:
    answer = await ada.get("/api/audit", params=wrong)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, next(iter(wrong)))
