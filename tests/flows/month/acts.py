"""How each act of a plan is done: as its customer, an operator, or their bank would. What cannot be done yet is done
later, in the same order."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import httpx
import stripe

from tallystick.accounts import user
from tallystick.base.errors import Conflict, InsufficientCreditsError
from tallystick.base.ids import id_for_request
from tallystick.catalog.meters import BUILT_IN
from tallystick.metering.record import Recorded, record_events
from tallystick.payments.orders.approve import approve, reject
from tallystick.payments.orders.grant import grant
from tallystick.payments.refunds.create import create as refund
from tests.flows.month.plan import AUTHENTICATES, Act, Life
from tests.flows.month.stage import SERVICE, Refused, Stage

CENT: Final = 10**7
_OPERATOR, _BACK = "operator:ada", "https://app.example.com/billing"


class Later(Exception):
    """It cannot be done now, and may be done soon."""


class Expired(Exception):
    """What it was about has ended meanwhile."""


@dataclass
class Customer:
    """One organization: what it has yet to do, and what is known of what it did. Amounts in nanocredits."""

    life: Life
    user: str
    organization: str
    account: int
    token: str
    left: deque[Act]
    orders: dict[str, str] = field(default_factory=dict)
    paid: dict[str, dict[str, str]] = field(default_factory=dict)
    subscriptions: dict[str, str] = field(default_factory=dict)
    refunds: dict[str, str] = field(default_factory=dict)
    disputes: dict[str, str] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    expired: Counter[str] = field(default_factory=Counter)
    approved: int = 0
    granted: int = 0
    spent: int = 0
    used: int = 0
    late: bool = False
    waits_for: str = ""

    @property
    def auth(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def name(self, act: Act) -> str:
        return f"{self.life.number} {act.name} {act.what}"


async def sign_up(stage: Stage, life: Life) -> Customer:
    welcome = await user.sign_up(stage.pool, email=f"owner{life.number}@example.com", password="correct horse")
    account = await stage.pool.fetchval("select account from organization where id = $1", welcome.organization_id)
    return Customer(life, welcome.user_id, welcome.organization_id, account, welcome.session.token, deque(life.acts))


async def act_on(stage: Stage, customer: Customer, act: Act) -> None:
    """Raises Later."""
    try:
        await stage.up.wait()
        await _ACTS[act.what](stage, customer, act)
    except (httpx.TransportError, stripe.StripeError, Refused, InsufficientCreditsError, Conflict) as error:
        raise Later(f"{act.what}: {error!r}") from error


async def _post(stage: Stage, customer: Customer, path: str, body: Any, key: str = "", method: str = "POST") -> Any:
    headers = customer.auth | ({"idempotency-key": key} if key else {})
    answer = await stage.http.request(method, path, json=body, headers=headers)
    return _read(answer, f"{customer.organization} {method} {path} {body}")


def _read(answer: httpx.Response, asked: str) -> Any:
    if answer.is_success:
        return answer.json()
    code = answer.json()["error"]["code"] if "error" in answer.text else answer.text
    if answer.status_code in {402, 502, 503} or code in {"customer_not_ready", "no_saved_card"}:
        raise Later(f"{asked}: {answer.status_code} {code}")
    if "can no longer be paid" in answer.text:
        raise Expired(asked)
    raise AssertionError(f"{asked}: {answer.status_code} {answer.text}")


async def _buy(stage: Stage, customer: Customer, act: Act) -> None:
    wanted = {name: value for name, value in act.given.items() if name in {"amount", "pack", "coupon", "save_card"}}
    started = await _start(stage, customer, act, wanted)
    pages = f"checkout/{started['session_id']}"
    if "declined" in act.given:
        await stage.control(f"{pages}/decline", number=act.given["declined"])
    answer = await stage.control(f"{pages}/pay", number=act.given["card"])
    if act.given["card"] == AUTHENTICATES:
        answer = await stage.control(f"{pages}/authenticate")
    intent = answer["payment_intent"]
    customer.paid[act.name] = {"session": started["session_id"], "intent": intent["id"]}
    if intent["latest_charge"]:
        customer.paid[act.name]["charge"] = intent["latest_charge"]


async def _start(stage: Stage, customer: Customer, act: Act, wanted: Any) -> Any:
    """Whose answer was lost may come back when the page has expired: they start anew then, as they are told to."""
    key = f"{customer.name(act)} {customer.expired[act.name]}"
    try:
        started = await _post(stage, customer, "/api/credits/purchase", wanted, key)
    except Expired as error:
        customer.expired[act.name] += 1
        raise Later("the page expired") from error
    customer.orders[act.name] = started["order_id"]
    return started


async def _look_around(stage: Stage, customer: Customer, act: Act) -> None:
    """A page of Stripe's that nobody pays on."""
    await _start(stage, customer, act, act.given)


async def _debit_ends(stage: Stage, customer: Customer, act: Act) -> None:
    await stage.control(f"checkout/{customer.paid[act.of]['session']}/settle", **act.given)


async def _grant(stage: Stage, customer: Customer, act: Act) -> None:
    operation = id_for_request("month", customer.name(act))
    if await grant(stage.pool, customer.account, act.minor * CENT, operation=operation, source="a month's promotion"):
        customer.granted += act.minor * CENT


async def _spend(stage: Stage, customer: Customer, act: Act) -> None:
    await _deduct(stage, customer, act, act.minor * CENT)


async def _spend_it_all(stage: Stage, customer: Customer, act: Act) -> None:
    """But for a little, which is less than what lets the card be charged."""
    if act.name not in customer.amounts:
        free = await stage.pool.fetchval("select posted - held from ledger_account where id = $1", customer.account)
        customer.amounts[act.name] = max(0, free - act.given["but_minor"] * CENT) // CENT * CENT
    if customer.amounts[act.name]:
        await _deduct(stage, customer, act, customer.amounts[act.name])


async def _deduct(stage: Stage, customer: Customer, act: Act, nano: int) -> None:
    body = {"user_id": customer.user, "amount": nano / 10**9, "request_id": customer.name(act)}
    answer = await stage.http.post("/api/credits/deduct", json=body, headers={"x-tallystick-services-token": SERVICE})
    _read(answer, f"{customer.organization} deducts {body}")
    customer.spent += nano


async def _hold(stage: Stage, customer: Customer, act: Act) -> None:
    hold = id_for_request("month hold", customer.name(act))
    await stage.lanes.reserve(hold, customer.account, act.minor * CENT, expires_in_s=900)
    used = act.given["used"] * CENT
    if used:
        await stage.lanes.settle(hold, customer.account, used)
    else:
        await stage.lanes.release(hold, customer.account)
    customer.spent += used


async def _order_by_hand(stage: Stage, customer: Customer, act: Act) -> None:
    made = await _post(stage, customer, "/api/orders", {"amount": act.minor // 100}, customer.name(act))
    customer.orders[act.name] = made["id"]


async def _approve(stage: Stage, customer: Customer, act: Act) -> None:
    order = await approve(
        stage.pool, customer.orders[act.of], proof="seen on the statement", by=_OPERATOR, four_eyes=False
    )
    customer.approved += order.credits


async def _reject(stage: Stage, customer: Customer, act: Act) -> None:
    await reject(stage.pool, customer.orders[act.of], reason="it never came", by=_OPERATOR)


async def _refund(stage: Stage, customer: Customer, act: Act) -> None:
    made = await refund(
        stage.pool, stage.stripe, customer.orders[act.of], amount_minor=act.minor, beyond_unspent=True,
        reason="as asked", by=_OPERATOR,
    )  # fmt: skip
    customer.refunds[act.name] = made.id


async def _refund_at_stripe(stage: Stage, customer: Customer, act: Act) -> None:
    """By somebody in Stripe's dashboard, who knows nothing of us."""
    asked = {"payment_intent": customer.paid[act.of]["intent"], "amount": act.minor}
    await stage.stripe.v1.refunds.create_async(asked, {"idempotency_key": customer.name(act)})


async def _refund_fails(stage: Stage, customer: Customer, act: Act) -> None:
    at_stripe = await stage.pool.fetchval("select stripe_refund from refund where id = $1", customer.refunds[act.of])
    if at_stripe is None:
        raise Later("Stripe has not answered yet")
    await stage.control(f"refunds/{at_stripe}/fail")


async def _dispute(stage: Stage, customer: Customer, act: Act) -> None:
    opened = await stage.control(f"charges/{customer.paid[act.of]['charge']}/dispute", **act.given)
    customer.disputes[act.name] = opened["dispute"]["id"]


async def _dispute_ends(stage: Stage, customer: Customer, act: Act) -> None:
    await stage.control(f"disputes/{customer.disputes[act.of]}/{act.given['how']}")


async def _top_up(stage: Stage, customer: Customer, act: Act) -> None:
    wanted = {"threshold": 5, "amount": act.minor // 100, "monthly_max": 300, "cool_down_s": 60}
    await _post(stage, customer, "/api/top-up", wanted, method="PUT")


async def _card_declines(stage: Stage, customer: Customer, _act: Act) -> None:
    method = await stage.pool.fetchval(
        "select payment_method from top_up where organization = $1", customer.organization
    )
    await stage.control(f"payment_methods/{method}/decline")


async def _subscribe(stage: Stage, customer: Customer, act: Act) -> None:
    wish = {"priceId": await _price(stage, act.given["plan"]), "successUrl": _BACK, "cancelUrl": _BACK}
    page = await _post(stage, customer, "/api/billing/checkout", wish)
    session = page["url"].rpartition("/")[2]
    answer = await stage.control(f"checkout/{session}/pay", number=act.given["card"])
    customer.subscriptions[act.name] = answer["session"]["subscription"]


async def _change_plan(stage: Stage, customer: Customer, act: Act) -> None:
    price = await _price(stage, act.given["plan"])
    await stage.control(f"subscriptions/{customer.subscriptions[act.of]}/change_plan", price=price)


async def _cancel(stage: Stage, customer: Customer, act: Act) -> None:
    await _post(stage, customer, "/api/billing/portal", {"returnUrl": _BACK})
    await stage.control(f"subscriptions/{customer.subscriptions[act.of]}/cancel")


async def _keep(stage: Stage, customer: Customer, act: Act) -> None:
    await stage.control(f"subscriptions/{customer.subscriptions[act.of]}/keep")


async def _another_card(stage: Stage, customer: Customer, act: Act) -> None:
    at_stripe = await stage.pool.fetchval(
        "select id from stripe_customer where organization = $1", customer.organization
    )
    await stage.control(f"customers/{at_stripe}/card", number=act.given["card"])


async def _pay_invoice(stage: Stage, customer: Customer, act: Act) -> None:
    bill = await stage.pool.fetchval(
        "select id from stripe_invoice where subscription = $1 and status = 'open'", customer.subscriptions[act.of]
    )
    if bill is None:
        raise Later("there is no open invoice")
    await stage.control(f"invoices/{bill}/pay", number=act.given["card"])


async def _use(stage: Stage, customer: Customer, act: Act) -> None:
    """Of agent sessions, minutes ago."""
    at = await stage.now() - timedelta(minutes=5)
    given = [
        {"id": f"{customer.name(act)} {number}", "organization": customer.organization, "meter": "agent_sessions",
         "at": at.isoformat()}
        for number in range(act.given["sessions"])
    ]  # fmt: skip
    found = await record_events(stage.pool, given, meters=lambda _: BUILT_IN, constraints_of=stage.constraints.find)
    assert all(isinstance(one, Recorded) for one in found), found
    customer.used += len(given)


async def _price(stage: Stage, plan: str) -> str:
    found = await stage.pool.fetchval("select id from stripe_price where plan = $1 and meter is null", plan)
    return str(found)


_ACTS: Final[dict[str, Callable[[Stage, Customer, Act], Awaitable[None]]]] = {
    "buy": _buy,
    "look around": _look_around,
    "debit ends": _debit_ends,
    "grant": _grant,
    "spend": _spend,
    "spend it all": _spend_it_all,
    "hold": _hold,
    "order by hand": _order_by_hand,
    "approve": _approve,
    "reject": _reject,
    "refund": _refund,
    "refund at stripe": _refund_at_stripe,
    "refund fails": _refund_fails,
    "dispute": _dispute,
    "dispute ends": _dispute_ends,
    "top up": _top_up,
    "card declines": _card_declines,
    "subscribe": _subscribe,
    "change plan": _change_plan,
    "cancel": _cancel,
    "keep": _keep,
    "another card": _another_card,
    "pay invoice": _pay_invoice,
    "use": _use,
}
