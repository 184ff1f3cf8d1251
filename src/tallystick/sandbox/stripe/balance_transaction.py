"""Balance transactions and the balance: every movement of money, less Stripe's fee, one never-changing line each."""

from typing import Final

from tallystick.sandbox.stripe.amount import units
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.world import Object, World

_DAY_S: Final = 24 * 3600
_CARD_PER_MILLE, _CARD_FIXED = 29, 30
_BANK_PER_MILLE, _BANK_UNITS_MAX = 8, 5
# How accountants are to read a type; an adjustment says so itself. Money that came in is available days later.
_CATEGORY: Final = {
    "charge": "charge",
    "payment": "charge",
    "payment_failure_refund": "charge_failure",
    "payment_refund": "refund",
    "payout": "payout",
    "payout_failure": "payout_reversal",
    "refund": "refund",
    "refund_failure": "refund_failure",
    "stripe_fee": "fee",
}
_PENDING_S: Final = {"charge": 2 * _DAY_S, "payment": 4 * _DAY_S}


def processing_fee(kind: str, amount: int, currency: str) -> int:
    """What Stripe keeps of a payment. A refund does not give it back."""
    if kind == "payment":
        return min((amount * _BANK_PER_MILLE + 500) // 1000, units(_BANK_UNITS_MAX, currency))
    return (amount * _CARD_PER_MILLE + 500) // 1000 + _CARD_FIXED


def record(
    world: World,
    source: Object,
    kind: str,
    amount: int,
    *,
    description: str | None,
    fee: int = 0,
    fee_for: str = "Stripe processing fees",
    category: str | None = None,
    at_once: bool = False,
) -> Object:
    """A new transaction of `amount` minor units: positive for what comes in, negative for what goes out."""
    now = world.now()
    wait = 0 if at_once else _PENDING_S.get(kind, 0)
    detail = {"amount": fee, "application": None, "currency": source["currency"], "type": "stripe_fee"}
    made = world.add(
        {
            "id": world.identifiers.new("txn_"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now + wait,
            "balance_type": "payments",
            "created": now,
            "currency": source["currency"],
            "description": description,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": [{**detail, "description": fee_for}] if fee else [],
            "net": amount - fee,
            "reporting_category": category or _CATEGORY[kind],
            "source": source.get("id"),
            "status": "pending" if wait else "available",
            "type": kind,
        }
    )
    if wait:
        world.later(made["available_on"], "balance_transaction.become_available", made["id"])
    return made


def become_available(world: World, named: str) -> None:
    world.get("balance_transaction", named)["status"] = "available"


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("balance_transaction", call.id)


def list_all(call: Call) -> Object:
    payout = call.parameters.text("payout")
    found = select(call, "balance_transaction", type="type", source="source", currency="currency")
    paid_out = call.world.keep("payout_of")
    if payout is not None:
        call.world.get("payout", payout, param="payout")
    return page(call, found, keep=lambda row: payout is None or paid_out.get(row["id"]) == payout)


def balance(call: Call) -> Object:
    call.parameters.finish()
    sums: dict[str, dict[str, int]] = {"available": {}, "pending": {}}
    for moved in call.world.all("balance_transaction"):
        part = sums[moved["status"]]
        part[moved["currency"]] = part.get(moved["currency"], 0) + moved["net"]
    return {
        "object": "balance",
        "available": _amounts(sums["available"] or {"usd": 0}),
        "livemode": False,
        "pending": _amounts(sums["pending"] or {"usd": 0}),
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
