"""Plans for customers of a test's gateway, and what these ask of it."""

import asyncio
import json
from typing import Any

import openai
import pytest
from gateway_world import INPUT, OUTPUT, Customer, World, body

from tallystick.base.money import format_amount
from tests.patience import PATIENCE_S

# A call is 10 input and 5 output tokens; 0.00002 credits by the price book.
WORTH = 10 * INPUT + 5 * OUTPUT
EXTRA = 500_000  # a request beyond those that are included
PLANS = """
[[feature]]
name = "ad_generations"
title = "Ad generations"
limits = { free = 2, pro = 100 }

[[route]]
alias = "artist"
feature = "ad_generations"
candidates = [{ provider = "acme", model = "small-1" }]

[[plan]]
slug = "starter"
name = "Starter"
strategy = "included"
price = 29
meters = [{ meter = "requests", allowance = 3 }]

[[plan]]
slug = "words"
name = "Words"
strategy = "included"
price = 29
meters = [{ meter = "output_tokens", allowance = 250 }]

[[plan]]
slug = "pro"
name = "Pro"
strategy = "overage"
price = 99
credit_limit = 0.001
meters = [{ meter = "requests", allowance = 2, overage = { price = 0.50, per = 1_000 } }]

[[plan]]
slug = "capped"
name = "Capped"
strategy = "overage"
price = 99
credit_limit = 10
meters = [{ meter = "requests", allowance = 2, cap = 3, overage = { price = 0.50, per = 1_000 } }]

[[plan]]
slug = "team"
name = "Team"
strategy = "flat"
price = 49

[[plan]]
slug = "payg"
name = "Pay as you go"
strategy = "payg"
price = 0
credit_limit = 0.0004

[[plan]]
slug = "budget"
name = "Budget"
strategy = "payg"
price = 0
credit_limit = 10
meters = [{ meter = "dollars", cap = 0.0005 }]

[[plan]]
slug = "studio"
name = "Studio"
strategy = "custom"
price = 49
charges_models = false
meters = [{ meter = "dollars", allowance = 0.00003, overage = { price = 1 } }]

[[plan]]
slug = "narrow"
name = "Narrow"
strategy = "flat"
price = 9
routes = ["unpriced"]

[[plan]]
slug = "paced"
name = "Paced"
strategy = "flat"
price = 9
rates = { requests_per_minute = 5, tokens_per_minute = 3_000 }

[[plan]]
slug = "paid"
name = "Paid"
strategy = "prepaid"
price = 0
rates = { requests_per_minute = 5, tokens_per_minute = 3_000 }

[[plan]]
slug = "pair"
name = "Pair"
strategy = "flat"
price = 9
rates = { concurrency = 2 }

[[plan]]
slug = "trickle"
name = "Trickle"
strategy = "included"
price = 9
rates = { requests_per_minute = 5, tokens_per_minute = 3_000 }
meters = [{ meter = "requests", allowance = 1 }]
"""


async def ask(client: Any, **fields: Any) -> Any:
    """One call; the raw response, whose headers tell as much as its body."""
    return await client.chat.completions.with_raw_response.create(**body(**fields))


async def refused(client: Any, error: type[openai.APIStatusError], **fields: Any) -> Any:
    with pytest.raises(error) as caught:
        await ask(client, **fields)
    return caught.value


async def felt(client: Any, error: type[openai.APIStatusError]) -> Any:
    """The refusal that a change has brought, as soon as it is felt."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await ask(client)
            except error as refusal:
                return refusal
            await asyncio.sleep(0.02)


async def told(world: World, customer: Customer, raw: Any) -> int:
    """What a call cost, which its header, its usage, its record, the ledger and /v1/credits all say."""
    cost = raw.headers["x-tallystick-cost"]
    assert json.loads(raw.content)["usage"]["cost"] == cost
    balance = (await world.http(customer).get("/credits")).json()["balance"]
    assert balance == raw.headers["x-tallystick-balance"] == format_amount(await world.posted(customer))
    (record,) = [row for row in await world.records(customer) if str(row["id"]) == raw.headers["x-request-id"]]
    assert format_amount(record["charge"]) == cost
    return int(record["charge"])
