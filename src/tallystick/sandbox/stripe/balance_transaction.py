"""Balance transactions and the balance: what a charge or refund moved, less Stripe's fee."""

from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.world import Object, World

_FEE_PER_MILLE, _FEE_FIXED = 29, 30
_PENDING_S = 2 * 24 * 3600


def record(world: World, source: Object, kind: str, amount: int) -> str:
    """The id of a new transaction of `amount` minor units: positive for a charge, negative for a refund, which like
    at Stripe does not give the fee back."""
    fee = (amount * _FEE_PER_MILLE + 500) // 1000 + _FEE_FIXED if amount > 0 else 0
    details = {"amount": fee, "application": None, "currency": source["currency"], "type": "stripe_fee"}
    now = world.now()
    made = world.add(
        {
            "id": world.identifiers.new("txn_"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now + _PENDING_S,
            "balance_type": "payments",
            "created": now,
            "currency": source["currency"],
            "description": source["description"],
            "exchange_rate": None,
            "fee": fee,
            "fee_details": [{**details, "description": "Stripe processing fees"}] if fee else [],
            "net": amount - fee,
            "reporting_category": kind,
            "source": source["id"],
            "status": "pending",
            "type": kind,
        }
    )
    return str(made["id"])


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("balance_transaction", call.id)


def list_all(call: Call) -> Object:
    return page(call, select(call, "balance_transaction", type="type", source="source", currency="currency"))


def balance(call: Call) -> Object:
    call.parameters.finish()
    now = call.world.now()
    available: dict[str, int] = {}
    pending: dict[str, int] = {}
    for moved in call.world.all("balance_transaction"):
        part = available if moved["available_on"] <= now else pending
        part[moved["currency"]] = part.get(moved["currency"], 0) + moved["net"]
    return {
        "object": "balance",
        "available": _amounts(available or {"usd": 0}),
        "livemode": False,
        "pending": _amounts(pending or {"usd": 0}),
        "refund_and_dispute_prefunding": {"available": [], "pending": []},
    }


def _amounts(sums: dict[str, int]) -> list[Object]:
    return [
        {"amount": amount, "currency": currency, "source_types": {"card": amount}}
        for currency, amount in sorted(sums.items())
    ]


routes = (
    Route("GET", "/v1/balance", balance),
    Route("GET", "/v1/balance_transactions", list_all),
    Route("GET", "/v1/balance_transactions/{id}", retrieve),
)
