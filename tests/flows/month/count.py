"""What balances must be: counted from what everybody did and what Stripe says, without a look at our own postings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.flows.month.at_stripe import AtStripe
from tests.flows.month.catalog import CENT, CREDIT, price_and_credits
from tests.flows.month.customer import Customer
from tests.flows.month.stage import Stage


@dataclass(frozen=True)
class Paid:
    """An order that money came for: cents and nanocredits of it, and cents that went back."""

    order: str
    price: int
    credits: int
    gone: int

    @property
    def back(self) -> int:
        return self.credits * self.gone // self.price

    @property
    def gift(self) -> int:
        """What of its credits nobody paid for and nobody has had to give back."""
        whole = max(0, self.credits - self.price * CENT)
        return whole - whole * self.gone // self.price


def paid_orders(customer: Customer, there: AtStripe) -> Iterator[Paid]:
    acts = {customer.orders[act.name]: act for act in customer.life.acts if act.name in customer.orders}
    for order, payment in there.of_order.items():
        if payment["metadata"]["organization"] != customer.organization:
            continue
        # What a card was charged by itself is bought at its price.
        given: Mapping[str, Any] = acts[order].given if order in acts else {"amount": payment["amount"] // 100}
        price, credits_ = price_and_credits(given)
        assert payment["amount_received"] == price, f"order {order} cost {payment['amount_received']}, not {price}"
        yield Paid(order, price, credits_, there.refunded[payment["id"]] + there.disputed[payment["id"]])
    for order, given in customer.by_hand.items():
        yield Paid(order, *price_and_credits(given), gone=customer.handed_back[order])


async def check_balance(stage: Stage, customer: Customer, there: AtStripe) -> list[str]:
    """Credits that came in, less those that went back with their money, less what was spent."""
    paid = list(paid_orders(customer, there))
    came, back = customer.granted + sum(one.credits for one in paid), sum(one.back for one in paid)
    owed = await stage.pool.fetchval(
        "select coalesce(sum(open), 0)::bigint from debt where organization = $1 and ended_at is null",
        customer.organization,
    )
    posted, wanted = await posted_of(stage, customer), came - back - customer.spent
    problems = []
    if posted - owed != wanted:
        problems.append(
            f"customer {customer.life.number} {customer.life.kinds} {customer.organization} has {posted / CREDIT} and"
            f" owes {owed / CREDIT}; came {came / CREDIT}, back {back / CREDIT}, spent {customer.spent / CREDIT}"
        )
    if posted and owed:
        problems.append(f"customer {customer.life.number} owes, and has credits")
    return problems


async def check_platform(stage: Stage, customers: Sequence[Customer], there: AtStripe) -> list[str]:
    """Our own side: what plans brought in, what is at the bank, what was given away, what is at Stripe."""
    rows = await stage.pool.fetch("select kind::text, sum(posted)::bigint as posted from ledger_account group by kind")
    posted = {row["kind"]: row["posted"] for row in rows}
    paid = [one for customer in customers for one in paid_orders(customer, there)]
    by_hand = {order for customer in customers for order in customer.by_hand}
    gifts = sum(customer.granted for customer in customers) + sum(one.gift for one in paid)
    plans = sum(
        one["amount_received"] - there.refunded[one["id"]] - there.disputed[one["id"]]
        for one in there.payments
        if one["status"] == "succeeded" and "order_id" not in one["metadata"]
    )
    wanted = {
        "plan_revenue": plans * CENT,
        "bank": -CENT * (there.paid_out_minor + sum(one.price - one.gone for one in paid if one.order in by_hand)),
        "promotional_expense": -gifts,
        "stripe_clearing": -there.held_minor * CENT,
    }
    return [
        f"{kind} has {posted[kind] / CENT}, by what was done {nano / CENT}"
        for kind, nano in wanted.items()
        if posted[kind] != nano
    ]


async def posted_of(stage: Stage, customer: Customer) -> int:
    found: int = await stage.pool.fetchval("select posted from ledger_account where id = $1", customer.account)
    return found
