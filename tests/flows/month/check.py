"""What must hold at the end of a month: by what was planned and what Stripe says, whatever our own books say."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallystick.app.verification import verify_books
from tallystick.payments.billing.names import event_name
from tallystick.payments.inbox.event import TYPES
from tallystick.payments.inbox.followers import FOLLOWERS
from tallystick.payments.meters.upkeep import compare_all
from tallystick.payments.orders.life import state_of_money
from tallystick.payments.reconcile.reconcile import reconcile
from tallystick.payments.stripe.meter import meters_by_event, units_between
from tests.flows.month.at_stripe import AtStripe, read_stripe
from tests.flows.month.catalog import FEW, price_and_credits
from tests.flows.month.count import check_balance, check_platform, posted_of
from tests.flows.month.customer import Customer
from tests.flows.month.month import Month
from tests.flows.month.stage import Stage
from tests.flows.month.topping_up import MONTHLY_MAX

_OURS: Final[dict[str, str]] = {"unpaid": "past_due", "incomplete_expired": "canceled"}


async def check(month: Month) -> None:
    """Raises AssertionError with all that is wrong."""
    stage = month.stage
    month.figures["failed on purpose"] = len(await _mend(stage, month))
    await _figures(stage, month)
    there = await read_stripe(stage)
    problems = [
        *await _reconciled(stage),
        *await _verified(stage),
        *await check_platform(stage, month.customers, there),
        *await _holds(stage),
        *_once(there, month),
        *await _few(month),
        *await _heard(stage, there),
    ]
    for customer in month.customers:
        problems += await _orders(stage, customer, there)
        problems += await check_balance(stage, customer, there)
        problems += await _usage(stage, customer)
    problems += await _subscriptions(stage, there)
    problems += await _told(stage)
    assert not problems, "\n".join(["", *problems])


async def ending(month: Month) -> dict[int, dict[str, Any]]:
    """How each customer stands whose end does not depend on when what happened: the same with and without faults."""
    found = {}
    for customer in month.customers:
        if customer.late or customer.life.depends_on_timing:
            continue
        whose = customer.organization
        found[customer.life.number] = {
            "balance": await posted_of(month.stage, customer),
            "orders": Counter(
                (row["state"], row["amount_minor"], row["refunded_minor"], row["disputed_minor"])
                for row in await month.stage.pool.fetch("select * from payment_order where organization = $1", whose)
            ),
            "subscriptions": Counter(
                (row["status"], row["slug"])
                for row in await month.stage.pool.fetch(
                    "select s.status, e.name as slug from subscription s join catalog_entry e on e.id = s.plan_version"
                    " where organization = $1", whose,
                )
            ),
            "invoices": Counter(
                (row["status"], row["operation"] is not None)
                for row in await month.stage.pool.fetch("select * from stripe_invoice where organization = $1", whose)
            ),
            "owes": await month.stage.pool.fetchval(
                "select coalesce(sum(open), 0)::bigint from debt where organization = $1 and ended_at is null", whose
            ),
        }  # fmt: skip
    return found


async def _mend(stage: Stage, month: Month) -> dict[str, str]:
    found = (await stage.controls.get("/_sandbox/faults")).json()
    month.figures["calls"] = found["calls"]
    await stage.controls.delete("/_sandbox/faults")
    return (found["everything"] or {}).get("failed", {})


async def _figures(stage: Stage, month: Month) -> None:
    sent = (await stage.controls.get("/_sandbox/webhooks/summary")).json()
    states = sent["deliveries"]
    month.figures["events at Stripe"] = sent["events"]
    month.figures["webhooks doubled"] = sum(states.values()) - sent["events"]
    month.figures.update({f"webhooks {state}": number for state, number in states.items()})
    counts = await stage.pool.fetchrow(
        "select (select count(*) from stripe_event) as events, (select count(*) from payment_order) as orders,"
        " (select count(*) from operation) as operations, (select count(*) from refund) as refunds,"
        " (select count(*) from dispute) as disputes, (select count(*) from stripe_invoice) as invoices,"
        " (select count(*) from coupon_redemption) as coupons, (select count(*) from debt) as debts"
    )
    rows = await stage.pool.fetch("select kind || ' orders ' || state as what, count(*) from payment_order group by 1")
    month.figures.update({row["what"]: row["count"] for row in rows})
    month.figures.update(dict(counts))


async def _reconciled(stage: Stage) -> list[str]:
    first = await reconcile(stage.pool, stage.stripe, stage.inbox, since=None)
    again = await reconcile(stage.pool, stage.stripe, stage.inbox, since=None)
    return [f"reconcile: {one}" for one in [*first.differences, *again.differences]] + [
        f"reconcile found something to mend the second time: {one}" for one in again.mended
    ]


async def _verified(stage: Stage) -> list[str]:
    outcomes = (await verify_books(stage.pool)).outcomes
    return [f"verify, {outcome.name}: {problem}" for outcome in outcomes for problem in outcome.problems]


async def _holds(stage: Stage) -> list[str]:
    held = await stage.pool.fetchval("select count(*) from hold where state = 'open'")
    return _unless(held == 0, f"{held} holds are open")


def _once(there: AtStripe, month: Month) -> list[str]:
    """Nothing that was asked for again was done twice."""
    paid = Counter(
        one["metadata"]["order_id"]
        for one in there.payments
        if one["status"] == "succeeded" and "order_id" in one["metadata"]
    )
    live = Counter(one["customer"] for one in there.subscriptions if one["status"] != "canceled")
    refunds = Counter(one["amount"] for one in there.refunds)
    planned = Counter(
        act.minor for one in month.customers for act in one.life.acts if act.what in {"refund", "refund at stripe"}
    )
    return [
        *(
            f"order {order} was paid {times} times: "
            + str([(one["id"], one["created"]) for one in there.payments if one["metadata"].get("order_id") == order])
            for order, times in paid.items()
            if times > 1
        ),
        *(f"{customer} has {times} subscriptions" for customer, times in live.items() if times > 1),
        *_unless(refunds == planned, f"refunds at Stripe {refunds}, planned {planned}"),
        *_unless(
            len(there.customers) == len(month.customers),
            f"{len(there.customers)} customers at Stripe of {len(month.customers)} organizations",
        ),
    ]


async def _few(month: Month) -> list[str]:
    """Of a coupon that few may have exactly so many were had, by those who were told so."""
    wanted = sum(act.what == "want one of few" for one in month.customers for act in one.life.acts)
    got = sum(one.got_few for one in month.customers)
    kept = await month.stage.pool.fetchval("select count(*) from coupon_redemption where code = 'FEW'")
    return _unless(got == kept == min(FEW, wanted), f"{wanted} wanted one of {FEW}: {got} were told yes, {kept} kept")


async def _heard(stage: Stage, there: AtStripe) -> list[str]:
    """Every event that we act on is here, and nobody has to look at one."""
    wanted = {*TYPES, *(type_ for follower in FOLLOWERS for type_ in follower.types)}
    rows = await stage.pool.fetch("select id, type, state, reason from stripe_event")
    here = {row["id"] for row in rows}
    missing = [one for one in there.events if one["type"] in wanted and one["id"] not in here]
    return [f"event {one['id']} {one['type']} never came" for one in missing] + [
        f"event {row['id']} {row['type']} is {row['state']}: {row['reason']}"
        for row in rows
        if row["state"] not in {"processed", "ignored"}
    ]


async def _orders(stage: Stage, customer: Customer, there: AtStripe) -> list[str]:
    rows = await stage.pool.fetch(
        "select id, kind::text, state::text from payment_order where organization = $1", customer.organization
    )
    by_itself = [there.of_order[row["id"]] for row in rows if row["kind"] == "top_up" and row["id"] in there.of_order]
    charged = sum(payment["amount_received"] for payment in by_itself)
    problems = _unless(charged <= MONTHLY_MAX * 100, f"{customer.organization} was charged {charged} by itself")
    for row in rows:
        if row["kind"] == "manual":
            problems += _by_hand(customer, row["id"], row["state"])
            continue
        payment = there.of_order.get(row["id"])
        if payment is None:
            wanted = {"created", "awaiting_payment", "expired", "failed"}
        else:
            intent, paid = payment["id"], payment["amount_received"]
            wanted = {state_of_money(paid, there.refunded[intent], there.disputed[intent], credited=True)}
        problems += _unless(
            row["state"] in wanted, f"order {row['id']} ({row['kind']}) is {row['state']}; by its payment {wanted}"
        )
    return problems


def _by_hand(customer: Customer, order: str, state: str) -> list[str]:
    if order not in customer.by_hand:
        return _unless(state == "failed", f"order {order} is {state}, and was rejected")
    price, _ = price_and_credits(customer.by_hand[order])
    wanted = state_of_money(price, customer.handed_back[order], 0, credited=True)
    return _unless(state == wanted, f"order {order} is {state}; by what was done by hand {wanted}")


async def _usage(stage: Stage, customer: Customer) -> list[str]:
    if customer.life.kinds[1] != "is metered":
        return []
    found, _ = await compare_all(stage.pool, stage.stripe, organization=customer.organization)
    at_stripe = await stage.pool.fetchval(
        "select id from stripe_customer where organization = $1", customer.organization
    )
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    meters = await meters_by_event(stage.stripe)
    there = await units_between(
        stage.stripe, meters[event_name("agent_sessions")], at_stripe, now - timedelta(days=34), now
    )
    return [f"usage: {one}" for one in found.differences] + _unless(
        there == customer.used, f"customer {customer.life.number} used {customer.used} sessions, Stripe has {there}"
    )


async def _subscriptions(stage: Stage, there: AtStripe) -> list[str]:
    kept = {row["id"]: row for row in await stage.pool.fetch("select * from stripe_subscription")}
    ours = {row["stripe_subscription"]: row for row in await stage.pool.fetch("select * from subscription")}
    prices = {row["id"]: row["plan"] for row in await stage.pool.fetch("select id, plan from stripe_price")}
    versions = {row["id"]: row["name"] for row in await stage.pool.fetch("select id, name from catalog_entry")}
    problems = []
    for one in there.subscriptions:
        row, our = kept.get(one["id"]), ours.get(one["id"])
        if row is None or our is None:
            problems.append(f"subscription {one['id']} is {one['status']} and not known here")
            continue
        ours_ = "paused" if one["pause_collection"] else _OURS.get(one["status"], one["status"])
        said = (one["status"], ours_, prices[one["items"]["data"][0]["price"]["id"]])
        here = (row["status"], our["status"], versions[our["plan_version"]])
        problems += _unless(said == here, f"subscription {one['id']} is {said} at Stripe and {here} here")
    return problems


async def _told(stage: Stage) -> list[str]:
    """Each order was told to its customer and is in the audit log, once for each thing that became of it."""
    notices: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in await stage.pool.fetch("select type, data ->> 'order_id' as order_id from notice"):
        notices[row["order_id"]][row["type"]] += 1
    acts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in await stage.pool.fetch("select act, subject from audit_event where act like 'order.%'"):
        acts[row["subject"]][row["act"]] += 1
    problems = []
    for row in await stage.pool.fetch("select id, state::text, operation from payment_order"):
        told, noted = notices[row["id"]], acts[row["id"]]
        credited = 0 if row["operation"] is None else 1
        for name, found in (("credits.purchased", told), ("order.created", told), ("order.created", noted)):
            wanted = credited if name == "credits.purchased" else 1
            problems += _unless(found[name] == wanted, f"order {row['id']}: {found[name]} times {name}")
        last = f"order.{row['state']}"
        problems += _unless(told[last] > 0 and noted[last] > 0, f"order {row['id']}: nobody was told of {last}")
    return problems


def _unless(holds: bool, problem: str) -> list[str]:
    return [] if holds else [problem]
