"""All that Stripe has at the end of a month, read without any fault."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.flows.month.stage import Stage


@dataclass
class AtStripe:
    """`of_order` has the payment that came for each order; the rest counts cents by payment."""

    payments: list[Any]
    refunds: list[Any]
    disputes: list[Any]
    subscriptions: list[Any]
    customers: list[Any]
    events: list[Any]
    held_minor: int
    paid_out_minor: int
    of_order: dict[str, Any] = field(default_factory=dict)
    refunded: Counter[str] = field(default_factory=Counter)
    disputed: Counter[str] = field(default_factory=Counter)


async def read_stripe(stage: Stage) -> AtStripe:
    v1 = stage.stripe.v1

    async def all_(resource: Any, **wanted: Any) -> list[Any]:
        page = await resource.list_async({"limit": 100, **wanted})
        return [row.to_dict() async for row in page.auto_paging_iter()]

    balance = (await v1.balance.retrieve_async()).to_dict()
    there = AtStripe(
        payments=await all_(v1.payment_intents),
        refunds=await all_(v1.refunds),
        disputes=await all_(v1.disputes),
        subscriptions=await all_(v1.subscriptions, status="all"),
        customers=await all_(v1.customers),
        events=await all_(v1.events),
        paid_out_minor=sum(one["amount"] for one in await all_(v1.payouts) if one["status"] != "failed"),
        held_minor=sum(part["amount"] for part in [*balance["available"], *balance["pending"]]),
    )
    for one in there.payments:
        if one["status"] == "succeeded" and "order_id" in one["metadata"]:
            there.of_order[one["metadata"]["order_id"]] = one
    for one in there.refunds:
        if one["status"] in {"succeeded", "pending", "requires_action"}:
            there.refunded[one["payment_intent"]] += one["amount"]
    for one in there.disputes:
        if sum(moved["amount"] for moved in one["balance_transactions"]) < 0:
            there.disputed[one["payment_intent"]] += one["amount"]
    return there
