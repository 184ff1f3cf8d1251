import asyncio
import json
import re
from decimal import Decimal

import pytest

from tallystick.accounts import user
from tallystick.accounts.organization import resolve_payer
from tallystick.base import strict_json
from tallystick.base.ids import new_id
from tallystick.base.money import parse_amount
from tallystick.payments.orders.grant import grant

TOKEN = "services-token-0123456789"
SERVICE = {"x-reeve-services-token": TOKEN}


@pytest.fixture
async def api(new_api):
    return await new_api(service_tokens=("the-token-before-this-one", TOKEN))


@pytest.fixture
async def ada(pool):
    return await user.sign_up(pool, email="ada@example.com", password="correct horse")


@pytest.fixture
async def rich(ada, pool):
    """Ada, with 5 credits."""
    async with pool.acquire() as connection:
        _organization, account = await resolve_payer(connection, ada.user_id)
    await grant(pool, account, parse_amount("5"), operation=new_id(), source="operator:tests")
    return ada


def bearer(who):
    return {"authorization": f"Bearer {who.session.token}"}


async def deduct(api, body, path="deduct", headers=SERVICE):
    content = body if isinstance(body, bytes) else strict_json.dumps(body)
    return await api.post(f"/api/credits/{path}", content=content, headers=headers)


async def balance(api, who):
    answer = await api.get("/api/credits/balance", headers=bearer(who))
    return strict_json.loads(answer.content)["balance"]


async def test_balance_as_documented(api, rich):
    before = await api.get("/api/credits/balance", headers=bearer(rich))
    assert b'"balance":5.00' in before.content, "a JSON number, with its decimals"
    assert before.json() == {
        "balance": 5.0,
        "available": 5.0,
        "held": 0.0,
        "last_purchase_at": None,
        "last_deduction_at": None,
    }
    await deduct(api, {"user_id": rich.user_id, "amount": 0.05})
    after = (await api.get("/api/credits/balance", headers=bearer(rich))).json()
    assert after["balance"] == 4.95
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", after["last_deduction_at"])


async def test_a_deduction_as_documented(api, rich):
    answer = await deduct(api, {"user_id": rich.user_id, "amount": 0.05})
    assert answer.status_code == 200
    told = strict_json.loads(answer.content)
    assert (told["deducted"], told["balance"]) == (Decimal("0.05"), Decimal("4.95"))
    assert (told["user_id"], told["request_id"]) == (rich.user_id, None)


async def test_both_names_of_the_header_and_every_accepted_token(api, rich):
    for headers in (
        {"X-Reeve-Services-Token": TOKEN},
        {"X-Tallystick-Services-Token": TOKEN},
        {"X-Tallystick-Services-Token": "the-token-before-this-one"},
    ):
        assert (await deduct(api, {"user_id": rich.user_id, "amount": 1}, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-reeve-services-token", "")],
        [("x-reeve-services-token", TOKEN[:-1])],
        [("x-reeve-services-token", TOKEN + "x")],
        [("x-reeve-services-token", "\xe9\xe9".encode("latin-1"))],
        [("x-reeve-services-token", TOKEN), ("x-reeve-services-token", TOKEN)],
        [("x-reeve-services-token", TOKEN), ("x-tallystick-services-token", "other")],
        [("authorization", f"Bearer {TOKEN}")],
    ],
)
@pytest.mark.parametrize("path", ["deduct", "deduct/batch"])
async def test_without_one_accepted_token_nothing_is_deducted(api, rich, headers, path):
    one = {"user_id": rich.user_id, "amount": 1}
    answer = await deduct(api, one if path == "deduct" else {"deductions": [one]}, path, headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert await balance(api, rich) == 5


async def test_where_no_token_is_set_deducting_is_closed(new_api, rich):
    closed = await new_api()
    answer = await deduct(closed, {"user_id": rich.user_id, "amount": 1}, headers={"x-reeve-services-token": ""})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "services_closed")


async def test_a_session_does_not_deduct(api, rich):
    answer = await deduct(api, {"user_id": rich.user_id, "amount": 1}, headers=bearer(rich))
    assert answer.status_code == 401


async def test_too_little_is_402_with_numbers(api, rich):
    answer = await deduct(api, {"user_id": rich.user_id, "amount": 5.01})
    assert answer.status_code == 402
    error = answer.json()["error"]
    assert (error["code"], error["balance"], error["required"]) == ("insufficient_credits", 5, 5.01)
    assert await balance(api, rich) == 5


async def test_funds_for_three_and_two_hundred_at_once_are_exactly_three(api, rich):
    one = {"user_id": rich.user_id, "amount": 1.5}
    answers = await asyncio.gather(*(deduct(api, one) for _ in range(200)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(402)) == (3, 197)
    assert await balance(api, rich) == Decimal("0.5")


async def test_a_request_id_is_charged_once(api, rich):
    one = {"user_id": rich.user_id, "amount": 1, "request_id": "call-42"}
    answers = await asyncio.gather(*(deduct(api, one) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = await deduct(api, {**one, "amount": 2})
    assert (other.status_code, await balance(api, rich)) == (409, 4)


async def test_an_unknown_user_is_404(api):
    for user_id in ("user_abc123", "org_nobody"):
        answer = await deduct(api, {"user_id": user_id, "amount": 1})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


NO_AMOUNT = [
    "NaN", "Infinity", "-Infinity", "0", "-0", "0.0", "-1", "-0.05", "true", "false", "null", '"0.05"', '""', "[1]",
    '{"$gt": 0}', "0.0000000001", "1.0000000001", "1e400", "1e-400", "1e99999999999", "9" * 61, "9" * 5000,
    "99999999999999999999", "1e30",
]  # fmt: skip


@pytest.mark.parametrize("amount", NO_AMOUNT, ids=[amount[:20] for amount in NO_AMOUNT])
async def test_what_is_no_amount_is_422_naming_it_and_leaves_no_row(api, rich, pool, amount):
    body = f'{{"user_id": "{rich.user_id}", "amount": {amount}, "request_id": "r"}}'.encode()
    answer = await deduct(api, body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "amount")
    bought = await api.post("/api/credits/purchase", content=b'{"amount": %s}' % amount.encode(), headers=bearer(rich))
    assert bought.status_code in {422, 503}
    counts = await pool.fetchrow("select (select count(*) from hold), (select count(*) from payment_order)")
    assert tuple(counts) == (0, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"user_id": "u", "amount": 1, "amount": 2}', "amount"),
        (b'{"user_id": "u", "user_id": "v", "amount": 2}', "user_id"),
        (b'{"amount": 1}', "user_id"),
        (b'{"user_id": 5, "amount": 1}', "user_id"),
        (b'{"user_id": "", "amount": 1}', "user_id"),
        (b'{"user_id": "a\\u0000b", "amount": 1}', "user_id"),
        (b'{"user_id": "\\ud800", "amount": 1}', "user_id"),
        (b'{"user_id": "u"}', "amount"),
        (b'{"user_id": "u", "amount": 1, "request_id": 7}', "request_id"),
        (b'{"user_id": "u", "amount": 1, "request_id": ""}', "request_id"),
        (b'{"user_id": "u", "amount": 1, "request_idd": "r"}', "request_idd"),
        (b'{"user_id": "u", "amount": 1, "balance": 99}', "balance"),
        (b'{"user_id": "u", "amount": 1, "\\ud800": 99}', "body"),
        (b"", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"{", "body"),
        (b'"u"', "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
    ],
)
async def test_a_body_that_is_wrong_is_422_naming_the_field(api, body, field):
    answer = await deduct(api, body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


async def test_a_batch_answers_for_each(api, rich):
    one = {"user_id": rich.user_id, "amount": 0.05}
    answer = await deduct(
        api,
        {
            "deductions": [
                one,
                {**one, "amount": 0.12, "request_id": "b"},
                {**one, "amount": 500},
                {**one, "amount": "0.05"},
                {**one, "user_id": "user_nobody"},
                7,
            ]
        },
        "deduct/batch",
    )
    told = strict_json.loads(answer.content)
    assert answer.status_code == 200
    assert (told["succeeded"], told["failed"], told["deducted"]) == (2, 4, Decimal("0.17"))
    assert [result.get("status", 200) for result in told["results"]] == [200, 200, 402, 422, 404, 422]
    assert told["results"][1]["request_id"] == "b"
    short = told["results"][2]["error"]
    assert (short["code"], short["required"]) == ("insufficient_credits", 500)
    assert await balance(api, rich) == Decimal("4.83")


async def test_what_an_earlier_call_or_line_had_deducted_succeeds_and_is_not_counted_again(api, rich):
    one = {"user_id": rich.user_id, "amount": 0.05, "request_id": "a"}
    assert (await deduct(api, one)).status_code == 200
    given = [one, {**one, "request_id": "b", "amount": 0.12}, {**one, "request_id": "b", "amount": 0.12}]
    given += [{"user_id": rich.user_id, "amount": 0.25}] * 2
    for deducted, left in (("0.62", "4.33"), ("0.50", "3.83")):
        answer = strict_json.loads((await deduct(api, {"deductions": given}, "deduct/batch")).content)
        assert (answer["succeeded"], answer["failed"], answer["deducted"]) == (5, 0, Decimal(deducted))
        assert [result["deducted"] for result in answer["results"]] == [item["amount"] for item in exact(given)]
        assert await balance(api, rich) == Decimal(left)
    again = strict_json.loads((await deduct(api, {"deductions": given[:3]}, "deduct/batch")).content)
    assert (again["succeeded"], again["deducted"]) == (3, 0)


async def test_a_batch_that_was_made_is_answered_even_when_it_can_no_longer_be_summed(api, rich, pool):
    """An error would have it sent again, and what has no request_id would be charged again."""
    await pool.execute(
        """create function cut() returns trigger language plpgsql as $$ begin
            perform pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'tallystick-api-under-test';
            return null; end $$;
            create trigger cut after insert on hold for each statement execute function cut()"""
    )
    answer = await deduct(api, {"deductions": [{"user_id": rich.user_id, "amount": 0.05}]}, "deduct/batch")
    told = strict_json.loads(answer.content)
    assert (answer.status_code, told["succeeded"]) == (200, 1)
    assert told["deducted"] in {None, Decimal("0.05")}


def exact(given):
    return strict_json.loads(strict_json.dumps({"given": given}))["given"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"deductions": []}',
        b'{"deductions": {}}',
        b"{}",
        b'{"deductions": [{"user_id": "u", "amount": NaN}]}',
        b'{"deductions": [{"user_id": "u", "amount": 1, "amount": 1}]}',
        b'{"deductions": [',
        b'{"deductions": [' + b",".join([b"1"] * 1001) + b"]}",
    ],
)
async def test_a_batch_that_is_no_batch_is_422_as_a_whole(api, body):
    assert (await deduct(api, body, "deduct/batch")).status_code == 422


async def test_history_as_documented(api, rich):
    for number in range(1, 4):
        await deduct(api, {"user_id": rich.user_id, "amount": number * 0.25})
    first = await api.get("/api/credits/history?limit=2", headers=bearer(rich))
    told = first.json()
    assert [t["amount"] for t in told["transactions"]] == [-0.75, -0.5]
    line = told["transactions"][0]
    assert (line["type"], set(line)) == ("deduction", {"type", "amount", "created_at", "id"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["created_at"])
    rest = await api.get(f"/api/credits/history?cursor={told['next_cursor']}", headers=bearer(rich))
    assert [(t["type"], t["amount"]) for t in rest.json()["transactions"]] == [("deduction", -0.25), ("grant", 5)]
    assert rest.json()["next_cursor"] is None


@pytest.mark.parametrize("query", ["type=usage", "limit=0", "limit=501", "limit=x", "limit=1e9", "cursor=x"])
async def test_a_history_query_that_is_wrong_is_422_naming_it(api, rich, query):
    answer = await api.get(f"/api/credits/history?{query}", headers=bearer(rich))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, query.split("=")[0])


@pytest.mark.parametrize("path", ["balance", "history"])
async def test_reading_needs_a_session(api, path):
    assert (await api.get(f"/api/credits/{path}")).status_code == 401


async def test_nobody_reads_another_users_credits(api, rich, pool):
    eve = await user.sign_up(pool, email="eve@example.com", password="correct horse")
    for query in (f"user_id={rich.user_id}", f"user_id={rich.organization_id}", f"organization={rich.organization_id}"):
        for path in ("balance", "history"):
            answer = await api.get(f"/api/credits/{path}?{query}", headers=bearer(eve))
            assert answer.status_code == 404
    assert (await api.get("/api/credits/history", headers=bearer(eve))).json()["transactions"] == []


async def test_a_service_reads_for_any_user_it_names(api, rich):
    answer = await api.get(f"/api/credits/balance?user_id={rich.user_id}", headers=SERVICE)
    assert answer.json()["balance"] == 5
    assert (await api.get("/api/credits/balance", headers=SERVICE)).json()["error"]["field"] == "user_id"
    wrong = {"x-reeve-services-token": "wrong", **bearer(rich)}
    assert (await api.get("/api/credits/balance", headers=wrong)).status_code == 401


async def test_without_a_payment_provider_nothing_is_sold(api, rich):
    answer = await api.post("/api/credits/purchase", json={"amount": 25}, headers=bearer(rich))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "purchases_closed")
    assert answer.headers["retry-after"] == "60"


async def test_where_no_secret_is_set_the_webhook_is_closed(api):
    answer = await api.post("/api/credits/webhook", content=b"{}", headers={"stripe-signature": "t=1,v1=0"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "webhook_closed")


async def test_the_documentation_shows_every_route_and_loads_nothing_from_elsewhere(api):
    document = (await api.get("/api/openapi.json")).json()
    assert {path.removeprefix("/api/credits/") for path in document["paths"] if "credits" in path} == {
        "balance",
        "history",
        "purchase",
        "packs",
        "redeem",
        "webhook",
        "deduct",
        "deduct/batch",
    }
    body = document["paths"]["/api/credits/deduct"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["required"] == ["user_id", "amount"]
    page = (await api.get("/api/docs")).text
    assert json.dumps(body["example"], indent=2).splitlines()[1].strip() in page.replace("&quot;", '"')
    assert "<script" not in page
    # Examples hold addresses, as text; nothing is fetched from one.
    assert not re.search(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//|url\(|@import""", page)


async def test_connections_that_were_lost_are_503_at_most_and_mend_themselves(api, rich, pool):
    # Only those that this API opened, in the database of this test: others may share the server.
    ended = await pool.fetch(
        """select pg_terminate_backend(pid) as ended from pg_stat_activity
        where datname = current_database() and application_name = 'tallystick-api-under-test'"""
    )
    assert [row["ended"] for row in ended].count(True) >= 1
    answers = [await api.get("/api/credits/balance", headers=bearer(rich)) for _ in range(12)]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert answers[-1].json()["balance"] == 5
