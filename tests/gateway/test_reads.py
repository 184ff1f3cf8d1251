"""What a customer can read: models with prices, credits, its key, receipts - its own only."""

from gateway_provider import answer, completion, reset
from gateway_world import CREDIT, World, body

from tallystick.base.money import format_amount


async def test_models_have_prices_as_exact_text(world: World) -> None:
    http = world.http(await world.customer())
    listed = (await http.get("/models")).json()
    assert listed["object"] == "list"
    small = next(model for model in listed["data"] if model["id"] == "small")
    assert small["object"] == "model"
    assert small["owned_by"] == "acme"
    assert small["context_length"] == 32000
    assert small["max_output_tokens"] == 8000
    assert small["architecture"]["input_modalities"] == ["text", "image"]
    assert small["pricing"]["prompt"] == "0.000001"
    assert small["pricing"]["completion"] == "0.000002"
    assert small["pricing"]["input_cache_read"] == "0.0000005"
    assert small["pricing"]["request"] == "0"
    assert (await http.get("/models/small")).json() == small
    assert "unpriced" not in {model["id"] for model in listed["data"]}
    assert (await http.get("/models/unpriced")).status_code == 404


async def test_credits_and_key(world: World) -> None:
    customer = await world.customer()
    http = world.http(customer)
    assert (await http.get("/credits")).json() == {
        "object": "credits",
        "balance": "1.00",
        "held": "0.00",
        "available": "1.00",
    }
    key = (await http.get("/key")).json()
    assert key["organization"] == customer.organization
    assert key["name"] == "test"
    assert customer.secret.startswith(key["prefix"])
    assert customer.secret not in str(key)


async def test_a_receipt_says_which_rule_decided_and_why(world: World) -> None:
    customer, stranger = await world.customer(), await world.customer()
    http = world.http(customer)
    paid = await http.post("/chat/completions", json=body())
    world.provider.then(reset, answer(completion("")))
    failed = await http.post("/chat/completions", json=body())
    empty = await http.post("/chat/completions", json=body())
    receipts = [
        (await http.get(f"/receipts/{response.headers['x-request-id']}")).json() for response in (paid, failed, empty)
    ]
    assert [receipt["rule"] for receipt in receipts] == ["completed", "upstream_error", "empty"]
    assert receipts[0]["charge"] == paid.headers["x-tallystick-cost"]
    assert receipts[0]["usage"]["input_tokens"] == 10
    assert receipts[1]["charge"] == receipts[2]["charge"] == "0.00"
    assert receipts[1]["why"] == "The provider failed before any content."
    assert all("cost" not in receipt for receipt in receipts)
    for response in (paid, failed):
        seen = await world.http(stranger).get(f"/receipts/{response.headers['x-request-id']}")
        assert seen.status_code == 404
    balance = (await http.get("/credits")).json()["balance"]
    assert balance == format_amount(CREDIT - 20_000)


async def test_reading_needs_a_key(world: World) -> None:
    for path in ("/models", "/models/small", "/credits", "/key", "/receipts/x", "/nothing"):
        assert (await world.http().get(path)).status_code == 401
