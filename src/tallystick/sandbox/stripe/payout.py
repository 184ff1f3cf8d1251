"""Payouts: what is available in the balance goes to the shop's bank account, and the bank may send it back."""

from tallystick.sandbox.stripe import balance_transaction
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_FAILED = "The bank account has been closed."


def pay_out(world: World, *, currency: str | None = None, arrives_after_s: float = 0) -> list[Object]:
    """One payout for each currency in which money is available, as Stripe makes them by itself."""
    paid_out = world.keep("payout_of")
    open_ones: dict[str, list[Object]] = {}
    for moved in world.all("balance_transaction"):
        if moved["status"] == "available" and moved["id"] not in paid_out and currency in {None, moved["currency"]}:
            open_ones.setdefault(moved["currency"], []).append(moved)
    made = []
    for name, moves in sorted(open_ones.items()):
        # Who owes Stripe more than is there gets nothing, and the debt waits for the next payout.
        amount = sum(moved["net"] for moved in moves)
        if amount > 0:
            made.append(_make(world, amount, name, moves, arrives_after_s))
    return made


def arrive_due(world: World, named: str) -> None:
    payout = world.get("payout", named)
    if payout["status"] == "in_transit":
        _arrive(world, payout)


def fail(world: World, payout: Object) -> None:
    """The bank sends it back, perhaps after it seemed to have arrived."""
    if payout["status"] not in {"in_transit", "paid"}:
        raise Refusal(400, f"This payout's status is {payout['status']}; it would have to be in_transit or paid.")
    back = balance_transaction.record(
        world, payout, "payout_failure", payout["amount"], description="REFUND FOR PAYOUT (STRIPE PAYOUT)"
    )
    payout |= {
        "status": "failed",
        "failure_balance_transaction": back["id"],
        "failure_code": "account_closed",
        "failure_message": _FAILED,
    }
    world.emit("payout.failed", payout)


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("payout", call.id)


def list_all(call: Call) -> Object:
    return page(call, select(call, "payout", status="status"))


def _make(world: World, amount: int, currency: str, moves: list[Object], arrives_after_s: float) -> Object:
    payout = world.add(_fields(world, amount, currency, arrives_after_s))
    moved = balance_transaction.record(world, payout, "payout", -amount, description=payout["description"])
    payout["balance_transaction"] = moved["id"]
    paid_out = world.keep("payout_of")
    for one in [*moves, moved]:
        paid_out[one["id"]] = payout["id"]
    world.emit("payout.created", payout)
    if arrives_after_s > 0:
        world.later(world.now() + arrives_after_s, "payout.arrive", payout["id"])
    else:
        _arrive(world, payout)
    return payout


def _arrive(world: World, payout: Object) -> None:
    payout |= {"status": "paid", "reconciliation_status": "completed"}
    world.emit("payout.paid", payout)
    world.emit("payout.reconciliation_completed", payout)


def _fields(world: World, amount: int, currency: str, arrives_after_s: float) -> Object:
    accounts = world.keep("bank_account")
    account = accounts.setdefault(currency, world.identifiers.new("ba_"))
    now = world.now()
    return {
        "id": world.identifiers.new("po_"),
        "object": "payout",
        "amount": amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": now + int(arrives_after_s),
        "automatic": True,
        "balance_transaction": None,
        "created": now,
        "currency": currency,
        "description": "STRIPE PAYOUT",
        "destination": account,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": {},
        "method": "standard",
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": "in_progress",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "in_transit",
        "trace_id": {"status": "pending", "value": None},
        "type": "bank_account",
    }


routes = (
    Route("GET", "/v1/payouts", list_all),
    Route("GET", "/v1/payouts/{id}", retrieve),
)
