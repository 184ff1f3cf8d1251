"""The shapes of Stripe's errors, as the SDK turns them into exceptions."""

import httpx
import pytest
import stripe

from tallystick.sandbox.stripe.world import API_VERSION


@pytest.mark.parametrize("key", ["sk_live_123456", "pk_test_123456", "nonsense", "sk_test_"])
def test_a_wrong_key_is_a_401(sandbox, key):
    with pytest.raises(stripe.AuthenticationError) as refused:
        sandbox.client(key).v1.customers.list()
    assert refused.value.http_status == 401
    assert refused.value.json_body["error"]["type"] == "invalid_request_error"
    assert refused.value.headers["request-id"].startswith("req_")


async def test_no_key_is_a_401_and_basic_auth_is_a_key(sandbox):
    async with httpx.AsyncClient(verify=False, base_url=sandbox.address) as client:
        assert (await client.get("/v1/customers")).status_code == 401
        assert (await client.get("/v1/customers", headers={"authorization": "Basic ~~~"})).status_code == 401
        assert (await client.get("/v1/customers", auth=("sk_test_x", ""))).status_code == 200


def test_only_named_keys_open_a_sandbox_that_names_them(start):
    with start("tallystick.sandbox.stripe", "--secret-key", "sk_test_mine") as address:
        auth = {"headers": {"authorization": "Bearer sk_test_mine"}}
        assert httpx.get(f"{address}/v1/balance", **auth).status_code == 200
        other = {"headers": {"authorization": "Bearer sk_test_other"}}
        assert httpx.get(f"{address}/v1/balance", **other).status_code == 401


def test_what_is_not_there_is_a_404(shop):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.customers.retrieve("cus_nobody")
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (404, "resource_missing", "id")
    assert str(refused.value.user_message) == "No such customer: 'cus_nobody'"


def test_what_a_parameter_names_and_is_not_there_is_a_400(shop, checkout):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.checkout.sessions.create({**checkout, "customer": "cus_nobody"})
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, "resource_missing", "customer")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"line_items": []}, "parameter_missing", "line_items"),
        ({"success_url": ""}, "parameter_missing", "success_url"),
        ({"success_url": "javascript:alert(1)"}, "url_invalid", "success_url"),
        ({"mode": "setup"}, None, "mode"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"payment_intent_data": {"colour": "red"}}, "parameter_unknown", "payment_intent_data[colour]"),
        ({"expires_at": 12}, None, "expires_at"),
        ({"payment_method_types": ["klarna"]}, None, "payment_method_types"),
    ],
)
def test_a_wrong_parameter_is_named(shop, checkout, change, code, param):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.checkout.sessions.create({**checkout, **change})
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"quantity": 0}, "parameter_invalid_integer", "line_items[0][quantity]"),
        ({"quantity": "many"}, "parameter_invalid_integer", "line_items[0][quantity]"),
        (
            {"price_data": {"currency": "usd", "unit_amount": -1, "product_data": {"name": "x"}}},
            "parameter_invalid_integer",
            "line_items[0][price_data][unit_amount]",
        ),
        (
            {"price_data": {"currency": "usd", "unit_amount": 500}},
            "parameter_missing",
            "line_items[0][price_data][product]",
        ),
        (
            {"price_data": {"currency": "usd", "unit_amount": 49, "product_data": {"name": "x"}}},
            "amount_too_small",
            "line_items",
        ),
        ({"quantity": 99_999}, "amount_too_large", "line_items"),
        ({"price": "price_nobody", "price_data": ""}, "resource_missing", "line_items[0][price]"),
    ],
)
def test_a_wrong_line_item_is_named_and_leaves_nothing_behind(shop, checkout, change, code, param):
    products = len(shop.v1.products.list({"limit": 100}).data)
    checkout["line_items"][0] |= change
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.checkout.sessions.create(checkout)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert len(shop.v1.products.list({"limit": 100}).data) == products


async def test_an_unknown_path_says_that_the_sandbox_is_only_a_part(sandbox):
    async with httpx.AsyncClient(verify=False, base_url=sandbox.address, auth=("sk_test_x", "")) as client:
        response = await client.get("/v1/issuing/cards")
        assert response.status_code == 404
        assert "Unrecognized request URL (GET: /v1/issuing/cards)" in response.json()["error"]["message"]
        assert (await client.put("/v1/customers")).status_code == 404


async def test_the_version_is_echoed_and_checked(sandbox):
    async with httpx.AsyncClient(verify=False, base_url=sandbox.address, auth=("sk_test_x", "")) as client:
        assert (await client.get("/v1/balance")).headers["stripe-version"] == API_VERSION
        older = await client.get("/v1/balance", headers={"stripe-version": "2024-06-20"})
        assert older.headers["stripe-version"] == "2024-06-20"
        assert (await client.get("/v1/balance", headers={"stripe-version": "latest"})).status_code == 400


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"a=" + b"x" * 1_000_001, "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_that_is_no_form_is_a_400(sandbox, body, kind):
    async with httpx.AsyncClient(verify=False, base_url=sandbox.address, auth=("sk_test_x", "")) as client:
        response = await client.post("/v1/customers", content=body, headers={"content-type": kind})
    assert response.status_code == 400
