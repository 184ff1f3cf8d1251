"""Every organization gets its customer at Stripe, once, whatever happens to Stripe or to us on the way.

Stripe gives the same answer for the same key for a day, failures of its own among them. So a key whose outcome stays
unknown is asked again for a while, then the customer is looked for, and only when there is none another key is used.
Who buys before that is done does the same, under the same key.
"""

from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec
import structlog

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, Misconfigured
from tallystick.payments.claimed import AT_ONCE, work_off
from tallystick.payments.customer import find_customer
from tallystick.payments.errors import PaymentPending, PaymentRefused
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.customer import create_customer, find_created

queries = load_queries(__file__, "provision.sql")
log = structlog.get_logger()

# Nobody asks under a key that is older than the first, or takes another one before it is older than the second: in
# between, the last call of everybody ends.
ASKED_FOR: Final = timedelta(minutes=9)
UNKNOWN_FOR: Final = timedelta(minutes=10)


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    """An organization without a customer, and what goes out under its present key."""

    organization: str
    generation: int
    name: str | None
    email: str | None
    began_at: datetime | None
    key_age: timedelta | None = None


async def provision_customers(pool: asyncpg.Pool, stripe: StripeClient) -> int:
    """Make the customers that are missing; returns how many there are more. Any number of these may run at once.

    Raises Misconfigured where Stripe does not take our key: nothing was tried then that is not tried again."""
    return await work_off(
        lambda: queries.claim(pool, livemode=stripe.livemode, row_limit=AT_ONCE),
        lambda row: _provision(pool, stripe, _Task(**row)),
    )


async def customer_of(pool: asyncpg.Pool, stripe: StripeClient, organization: str) -> str:
    """Who the organization is at Stripe: known, or made now.

    Raises PaymentPending where nobody knows yet whether it was made, PaymentRefused, Misconfigured."""
    while True:
        customer = await find_customer(pool, organization, livemode=stripe.livemode)
        if customer is not None:
            return customer
        row = await queries.task(pool, organization=organization, livemode=stripe.livemode)
        customer = await _find_or_make(pool, stripe, _Task(**row))
        # Who was faster took another key: the next time round it is asked under that one.
        if customer is not None:
            return await _keep(pool, stripe, organization, customer)


async def _provision(pool: asyncpg.Pool, stripe: StripeClient, task: _Task) -> bool:
    organization, livemode = task.organization, stripe.livemode
    customer = await find_customer(pool, organization, livemode=livemode)
    try:
        if customer is None:
            customer = await _find_or_make(pool, stripe, task)
    except Misconfigured:
        await _keep_problem(pool, task, livemode, "Stripe does not take this server's key.")
        raise
    except PaymentPending:
        await _keep_problem(pool, task, livemode, "Stripe's answer is not known yet.")
    except PaymentRefused as error:
        log.error("stripe_customer_refused", organization=organization, reason=error.reason)  # noqa: TRY400 - expected
        await _keep_problem(pool, task, livemode, f"Stripe refused to make the customer: {error.reason}.")
    if customer is None:
        return False
    await _keep(pool, stripe, organization, customer)
    return True


async def _keep(pool: asyncpg.Pool, stripe: StripeClient, organization: str, customer: str) -> str:
    await queries.keep(pool, organization=organization, livemode=stripe.livemode, customer=customer)
    kept = await find_customer(pool, organization, livemode=stripe.livemode)
    if kept is None:
        raise Conflict(f"Customer {customer} at Stripe is another organization's, and cannot be {organization}'s.")
    # Only who has one is done. Who dies before this is told of again, and found.
    await queries.done(pool, organization=organization, livemode=stripe.livemode)
    if kept != customer:
        log.warning("stripe_customer_twice", organization=organization, kept=kept, unused=customer)
    return kept


async def _keep_problem(pool: asyncpg.Pool, task: _Task, livemode: bool, problem: str) -> None:
    await queries.keep_problem(pool, organization=task.organization, livemode=livemode, problem=problem)


async def _find_or_make(pool: asyncpg.Pool, stripe: StripeClient, task: _Task) -> str | None:
    """The customer, made now or before; None where somebody else took the next key."""
    if task.key_age is not None and ASKED_FOR < task.key_age <= UNKNOWN_FOR:
        raise PaymentPending(
            "The payment provider is still being told of this organization. You were not charged. "
            "Send the same request again, with the same Idempotency-Key, to go on; or start a new purchase.",
            retry_after=60,
        )
    if task.began_at is not None and task.key_age is not None and task.key_age > UNKNOWN_FOR:
        found = await find_created(stripe, task.organization, since=task.began_at)
        if found is not None:
            return found
    current: _Task | None = task
    if task.key_age is None or task.key_age > UNKNOWN_FOR:
        current = await _next_key(pool, stripe, task, plain=False)
    if current is None:
        return None
    try:
        return await _make(stripe, current)
    except PaymentRefused:
        if current.name is None and current.email is None:
            raise
    # Nothing was made now, and before only if Stripe takes this for another request than the first under this key.
    if current.began_at is not None:
        found = await find_created(stripe, task.organization, since=current.began_at)
        if found is not None:
            return found
    # A name or an address that Stripe does not take must not keep anybody from paying.
    bare = await _next_key(pool, stripe, current, plain=True)
    return None if bare is None else await _make(stripe, bare)


async def _make(stripe: StripeClient, task: _Task) -> str:
    return await create_customer(
        stripe,
        task.organization,
        name=task.name,
        email=task.email,
        idempotency_key=f"{task.organization}-customer-{task.generation}",
    )


async def _next_key(pool: asyncpg.Pool, stripe: StripeClient, task: _Task, *, plain: bool) -> _Task | None:
    row = await queries.next_key(
        pool, organization=task.organization, livemode=stripe.livemode, generation=task.generation, plain=plain
    )
    return None if row is None else _Task(organization=task.organization, **row)
