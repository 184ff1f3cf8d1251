"""What plans promise, kept by a running server: the plans of examples/catalog.toml with small allowances.

One customer's story, from an allowance that ends to what is owed; then each other plan in a few calls.
"""

import json
import time
import tomllib
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tallystick.app.world import command, world
from tests.patience import PATIENCE_S

SHIPPED = Path(__file__).parents[2].joinpath("examples", "catalog.toml").read_text()
# What a period includes, and where it ends, reached in a few calls. Each is written once in the file.
SMALL = {
    "https://api.openai.com/v1": "{model}/v1",
    "OPENAI_API_KEY": "WORLD_PROVIDER_KEY",
    "allowance = 10_000\n": "allowance = 2\n",
    "allowance = 100_000\n": "allowance = 4\n",
    "cap = 50_000_000\n": "cap = 2\n",
    "allowance = 500\n": "allowance = 5\n",
    "allowance = 2_000\n": "allowance = 3\n",
    "cap = 20_000\n": "cap = 10\n",
    "allowance = 20_000_000\n": "allowance = 2\n",
    "allowance = 5_000_000\n": "allowance = 3\n",
}
# An extra request of Pro: $0.50 per 1,000.
EXTRA = Decimal("0.0005")


@pytest.fixture(scope="module")
def server():
    with world(progress=lambda _line: None) as running:
        yield running


@pytest.fixture(scope="module")
def tallystick(server, tmp_path_factory):
    """Run a command against the server's books; the parsed JSON it prints. The shipped plans are sold, small."""

    def run(*words):
        return json.loads(command(server.environment, *words, "--json"), parse_float=Decimal)

    text = SHIPPED
    for written, small in SMALL.items():
        assert text.count(written) == 1, written
        text = text.replace(written, small.replace("{model}", server.model_address))
    file = tmp_path_factory.mktemp("plans") / "catalog.toml"
    file.write_text(text)
    run("apply", str(file))
    yield run
    assert run("verify")["broken"] is None


class Customer:
    """Someone who signed up and calls the gateway, and whose work a service of ours charges."""

    def __init__(self, server, tallystick, plan):
        signed_up = httpx.post(
            f"{server.address}/api/auth/sign-up",
            json={"email": f"{uuid4().hex}@example.com", "password": "correct horse"},
            timeout=PATIENCE_S,
        ).json()
        self.id, session = signed_up["user_id"], {"authorization": f"Bearer {signed_up['session_token']}"}
        if plan is not None:
            tallystick("subscriptions", "start", self.id, "--plan", plan, "--trial-days", "0")
        made = httpx.post(
            f"{server.address}/api/keys", json={"name": "laptop"}, headers=session, timeout=PATIENCE_S
        ).json()
        key = {"authorization": f"Bearer {made['key']}"}
        self.gateway = httpx.Client(base_url=f"{server.address}/v1", headers=key, timeout=PATIENCE_S)
        services = {"x-tallystick-services-token": server.services_token}
        self.service = httpx.Client(base_url=f"{server.address}/api", headers=services, timeout=PATIENCE_S)

    def call(self, model="fast"):
        messages = [{"role": "user", "content": "Why split a stick?"}]
        return self.gateway.post("/chat/completions", json={"model": model, "max_tokens": 20, "messages": messages})

    def admitted(self, layer, **options):
        """The answer of a call that `layer` pays for."""
        answer = self.call(**options)
        assert (answer.status_code, answer.headers.get("x-tallystick-layer")) == (200, layer), answer.text
        return answer

    def refused(self, status, code, **options):
        answer = self.call(**options)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        return answer.json()["error"]

    def admitted_at_last(self):
        """The first call that is admitted again: a change is felt by the gateway within a moment."""
        give_up = time.monotonic() + PATIENCE_S
        while (answer := self.call()).status_code != 200:
            assert time.monotonic() < give_up, answer.text
            time.sleep(0.02)
        return answer

    def work(self, meter, quantity):
        """Metered work, reserved and done; what it was charged, or the answer that refused it."""
        held = self.service.post("/usage/reserve", json={"user_id": self.id, "meter": meter, "quantity": quantity})
        if held.status_code != 200:
            return held
        done = self.service.post("/usage/settle", json={"user_id": self.id, "id": held.json()["id"]})
        assert done.status_code == 200, done.text
        return Decimal(str(done.json()["charged"]))

    def used(self, meter):
        """Units of this billing period, and what they were charged."""
        (row,) = self.service.get("/usage", params={"user_id": self.id, "meter": meter}).json()["usage"]
        return row["units"], Decimal(row["charge"])

    def balance(self):
        return Decimal(self.gateway.get("/credits").json()["balance"])


@pytest.fixture
def customer(server, tallystick):
    """A new customer, on a plan or on none."""
    made = []

    def make(plan=None):
        made.append(Customer(server, tallystick, plan))
        return made[-1]

    yield make
    for one in made:
        one.gateway.close()
        one.service.close()


def test_the_shipped_plans_are_what_they_are_advertised_as():
    plans = {plan["slug"]: plan for plan in tomllib.loads(SHIPPED, parse_float=Decimal)["plan"]}
    assert {slug: plan["strategy"] for slug, plan in plans.items()} == {
        "prepaid": "prepaid",
        "starter": "included",
        "pro": "overage",
        "enterprise": "flat",
        "payg": "payg",
        "studio": "custom",
    }
    assert (plans["starter"]["price"], plans["starter"]["meters"]) == (29, [{"meter": "requests", "allowance": 10_000}])
    overage = {"price": Decimal("0.50"), "per": 1_000}
    assert plans["pro"]["price"] == 99
    assert plans["pro"]["meters"] == [{"meter": "requests", "allowance": 100_000, "overage": overage}]
    assert {meter["meter"] for meter in plans["studio"]["meters"]} >= {
        "image_generation",
        "document_page",
        "input_tokens",
        "output_tokens",
        "dollars",
    }


def test_from_the_end_of_an_allowance_to_what_is_owed(customer, tallystick):
    ada = customer("starter")
    for _ in range(2):
        assert ada.admitted("included").headers["x-tallystick-cost"] == "0.00"

    refusal = ada.refused(429, "quota_exceeded")
    told = refusal["metadata"]
    assert (told["limit_source"], told["name"]) == ("included", "requests")
    assert (told["limit"], told["used"], told["remaining"]) == (2, 2, 0)
    assert told["retry_at"] == tallystick("usage", ada.id)["to"]
    assert "Change to a plan that has more." in told["ways_out"]
    # Credits do not buy what the plan does not sell.
    tallystick("credits", "grant", ada.id, "0.0007")
    assert ada.refused(429, "quota_exceeded")["metadata"]["used"] == 2

    changed = tallystick("subscriptions", "change", ada.id, "--plan", "pro")
    assert 6900 <= changed["proration"]["net_minor"] <= 7000
    # What Starter counted, Pro's allowance of four counts too; then credits pay, then it is owed.
    answers = [ada.admitted_at_last(), *(ada.call() for _ in range(3))]
    assert [(answer.headers["x-tallystick-layer"], answer.headers["x-tallystick-cost"]) for answer in answers] == [
        ("included", "0.00"),
        ("included", "0.00"),
        ("promotional", "0.0005"),
        ("overage", "0.0005"),
    ]
    assert ada.balance() == Decimal("0.0007") - 2 * EXTRA
    assert ada.used("requests") == (6, 2 * EXTRA)
    assert sum(line["amount"] for line in tallystick("credits", "history", ada.id)) == ada.balance()
    verified = tallystick("verify")
    assert verified["broken"] is None, verified


def test_enterprise_has_access_until_its_cap(customer):
    bob = customer("enterprise")
    for _ in range(2):
        assert bob.admitted("included").headers["x-tallystick-cost"] == "0.00"
    assert bob.refused(429, "quota_exceeded")["metadata"]["limit"] == 2
    assert (bob.used("requests"), bob.balance()) == ((2, 0), 0)


def test_pay_as_you_go_bills_every_call_and_every_page(customer):
    cleo = customer("payg")
    charged = by_the_price_book(cleo.admitted("overage"))
    assert cleo.work("document_page", 3) == Decimal("0.03")
    assert cleo.balance() == -charged - Decimal("0.03")
    assert cleo.used("document_page") == (3, Decimal("0.03"))


def test_without_a_plan_credits_come_first(customer, tallystick):
    dora = customer()
    refusal = dora.refused(402, "insufficient_credits")
    assert len(refusal["metadata"]["ways_out"]) == 2
    tallystick("credits", "grant", dora.id, "1")
    charged = by_the_price_book(dora.admitted("promotional"))
    assert dora.balance() == 1 - charged


def test_a_custom_plan_meters_images_pages_and_tokens(customer):
    emil = customer("studio")
    assert [emil.work("image_generation", quantity) for quantity in (5, 2)] == [0, Decimal("0.16")]
    assert [emil.work("document_page", quantity) for quantity in (2, 8)] == [0, Decimal("0.07")]
    refused = emil.work("document_page", 1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_exceeded")

    answer = emil.admitted("overage")
    tokens = answer.json()["usage"]
    beyond = (tokens["prompt_tokens"] - 2) * Decimal("0.40") + (tokens["completion_tokens"] - 3) * Decimal("1.60")
    assert Decimal(answer.headers["x-tallystick-cost"]) == beyond / 10**6 > 0
    assert emil.balance() == -Decimal("0.23") - beyond / 10**6


def by_the_price_book(answer):
    """What gpt-4o-mini charges for the tokens of this answer, at its cost plus a quarter, as its header says."""
    tokens = answer.json()["usage"]
    cost = (tokens["prompt_tokens"] * Decimal("0.15") + tokens["completion_tokens"] * Decimal("0.60")) / 10**6
    charge = (cost * Decimal("1.25")).quantize(Decimal("1e-9"), ROUND_CEILING)
    assert Decimal(answer.headers["x-tallystick-cost"]) == charge > 0
    return charge
