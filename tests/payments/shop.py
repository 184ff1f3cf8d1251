"""One organization that buys, its orders, and Stripe's events about them: signed here, as Stripe signs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import asyncpg

from tallystick.accounts import user
from tallystick.ledger import read
from tallystick.ledger import verify as ledger_verify
from tallystick.payments import verify as payments_verify
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.orders.change import await_payment
from tallystick.payments.orders.order import Buyer, Order, lock
from tallystick.payments.orders.place import place
from tallystick.payments.orders.purchase_terms import Purchase
from tallystick.payments.stripe.checkout import CheckoutSession
from tallystick.payments.stripe.signature import sign

SECRET = "whsec_of_the_tests"
_numbers = count(1)


@dataclass
class Shop:
    """One organization that buys, and what Stripe would say about its orders."""

    pool: asyncpg.Pool
    inbox: Inbox
    buyer: Buyer
    customer: str
    sequence: Iterator[int] = field(default_factory=lambda: count(1))

    async def order(self, amount_minor: int = 2500, *, livemode: bool = False) -> Order:
        """An order whose buyer is on the payment page."""
        purchase = Purchase(amount_minor=amount_minor, currency="usd", credits=amount_minor * 10**7)
        placed = await place(self.pool, self.buyer, purchase, request_id=None, livemode=livemode)
        session = CheckoutSession(id=f"cs_{placed.id}", url=f"https://pay.example/{placed.id}")
        await await_payment(self.pool, placed, session)
        return await self.reread(placed)

    async def reread(self, order: Order) -> Order:
        async with self.pool.acquire() as connection, connection.transaction():
            found = await lock(connection, order.id)
        assert found is not None
        return found

    def event(self, type_: str, order: Order, *, event: dict[str, Any] | None = None, **changed: Any) -> bytes:
        """The body of an event about the order's payment; `changed` replaces fields of its object."""
        metadata = {"order_id": order.id, "organization": order.organization, "user_id": order.created_by}
        intent = f"pi_{order.id}"
        common = {"customer": self.customer, "currency": "usd", "metadata": metadata, "livemode": False}
        if type_.startswith("payment_intent."):
            amount = {"amount": order.amount_minor, "amount_received": order.amount_minor}
            about = {"id": intent, "object": "payment_intent", "status": "succeeded", **amount, **common}
        else:
            about = {
                "id": order.stripe_session,
                "object": "checkout.session",
                "mode": "payment",
                "payment_status": "paid",
                "amount_total": order.amount_minor,
                "payment_intent": intent,
                "client_reference_id": order.id,
                **common,
            }
        whole = {
            "id": f"evt_{next(self.sequence)}",
            "object": "event",
            "type": type_,
            "livemode": False,
            "created": 1_790_000_000,
            "data": {"object": about | changed},
        }
        return json.dumps(whole | (event or {}), indent=2).encode()

    async def receive(self, body: bytes) -> None:
        await self.inbox.receive(body, sign(body, SECRET))

    async def balance(self) -> int:
        async with self.pool.acquire() as connection:
            return (await read.balance(connection, self.buyer.account)).posted

    async def events(self) -> list[tuple[str, str | None]]:
        rows = await self.pool.fetch("select state, reason from stripe_event order by received_at")
        return [(row["state"], row["reason"]) for row in rows]

    async def broken_laws(self) -> list[str]:
        async with self.pool.acquire() as connection, connection.transaction():
            found = [await check.run(connection) for check in [*ledger_verify.checks, *payments_verify.checks]]
        return [problem for problems in found for problem in problems]


async def open_shop(pool: asyncpg.Pool, *, livemode: bool | None = False, secrets: tuple[str, ...] = (SECRET,)) -> Shop:
    welcome = await user.sign_up(pool, email=f"buyer{next(_numbers)}@example.com", password="correct horse")
    account = await pool.fetchval("select account from organization where id = $1", welcome.organization_id)
    customer = f"cus_{welcome.organization_id}"
    await pool.execute(
        "insert into stripe_customer (organization, livemode, id) values ($1, false, $2)",
        welcome.organization_id,
        customer,
    )
    buyer = Buyer(organization=welcome.organization_id, account=account, user_id=welcome.user_id)
    return Shop(pool, Inbox(pool, secrets=secrets, livemode=livemode), buyer, customer)
