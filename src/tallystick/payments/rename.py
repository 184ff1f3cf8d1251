"""An organization's customer at Stripe has its name, also when it is given another one."""

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.payments.claimed import AT_ONCE, work_off
from tallystick.payments.errors import PaymentPending, PaymentRefused
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.customer import rename_customer

queries = load_queries(__file__, "rename.sql")
log = structlog.get_logger()


async def rename_customers(pool: asyncpg.Pool, stripe: StripeClient) -> int:
    """Tell Stripe the names that organizations were given since; returns how many. Any number of these may run at once.

    Raises Misconfigured where Stripe does not take our key; all is tried again then."""
    return await work_off(
        lambda: queries.claim(pool, livemode=stripe.livemode, row_limit=AT_ONCE),
        lambda row: _rename(pool, stripe, **row),
    )


async def _rename(pool: asyncpg.Pool, stripe: StripeClient, *, organization: str, renames: int) -> bool:
    present = await queries.present(pool, organization=organization, livemode=stripe.livemode)
    try:
        await rename_customer(stripe, present["customer"], present["name"])
    except PaymentPending:
        return False
    except PaymentRefused as error:
        # A name that Stripe does not take, or a customer that somebody deleted there: the next try ends the same way.
        log.warning("stripe_customer_not_renamed", organization=organization, reason=error.reason)
    await queries.told(pool, organization=organization, livemode=stripe.livemode, renames=renames)
    return True
