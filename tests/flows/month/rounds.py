"""A round of the upkeep: every job once, as another host would do it while the server is at it, too.

Our clock is not moved while Stripe's goes through weeks: that what waits for another attempt has waited is said here.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from tallystick.base.errors import TallystickError
from tallystick.ledger.seal import seal
from tallystick.notices.delivery import match_notices
from tallystick.payments.billing.checkout import close_superseded
from tallystick.payments.debts.collect import collect_due
from tallystick.payments.inbox.missed import fetch_missed
from tallystick.payments.meters.collect import collect
from tallystick.payments.meters.send import send
from tallystick.payments.orders.balance_alert import tell_low_balances
from tallystick.payments.orders.charge_top_up import top_up_due
from tallystick.payments.orders.end_unpaid import expire_unpaid
from tallystick.payments.orders.purchase_terms import PurchaseTerms
from tallystick.payments.provision import provision_customers
from tallystick.payments.refunds.ask import ask_open
from tallystick.subscriptions.keep_current import keep_current
from tests.flows.month.stage import Stage

# Every wait that an attempt is followed by, and the least age of what somebody may be at themselves.
_WAITED: Final = (
    "update stripe_event set retry_at = clock_timestamp() where state = 'received'",
    "update provisioning set retry_at = clock_timestamp() where done_at is null",
    (
        "update refund set retry_at = clock_timestamp(),"
        " created_at = least(created_at, clock_timestamp() - interval '1 minute') where state = 'asked'"
    ),
    "update meter_report set retry_at = clock_timestamp() where state = 'waiting'",
    "update top_up set cool_down = '0' where cool_down > '0'",
)
_OPEN: Final = """
select 'event ' || type as what from stripe_event where state = 'received'
union all select 'customer of ' || organization from provisioning where done_at is null and not livemode
union all select 'refund ' || id from refund where state = 'asked'
union all select 'report ' || id || ' ' || coalesce(problem, '') from meter_report where state = 'waiting'
union all select 'top-up ' || id from payment_order where kind = 'top_up' and state in ('created', 'awaiting_payment')
"""

log = structlog.get_logger()


async def work(stage: Stage, since: datetime) -> list[str]:
    """One round, with what happened at Stripe from `since` on; what is still open after it. A job that fails is one
    that the next round does."""
    for statement in _WAITED:
        await stage.pool.execute(statement)
    for name, job in _jobs(stage, since).items():
        try:
            await job()
        except TallystickError as error:
            log.warning("job failed", job=name, error=repr(error))
    return [row["what"] for row in await stage.pool.fetch(_OPEN)]


def _jobs(stage: Stage, since: datetime) -> dict[str, Callable[[], Awaitable[object]]]:
    pool, stripe = stage.pool, stage.stripe
    terms = PurchaseTerms(public_url=str(stage.http.base_url).rstrip("/"))

    async def usage() -> None:
        await collect(pool, livemode=False, now=await stage.now())

    return {
        "customers": lambda: provision_customers(pool, stripe),
        "missed": lambda: fetch_missed(stage.inbox, stripe, since - timedelta(hours=1)),
        "inbox": stage.inbox.process_open,
        "refunds": lambda: ask_open(pool, stripe),
        "top-ups": lambda: top_up_due(pool, stripe, terms),
        "pages": lambda: close_superseded(pool, stripe),
        "debts": lambda: collect_due(pool),
        "unpaid": lambda: expire_unpaid(pool),
        "low": lambda: tell_low_balances(pool),
        "usage": usage,
        "reports": lambda: send(pool, stripe),
        "subscriptions": lambda: keep_current(pool),
        "notices": lambda: match_notices(pool),
        "sealing": lambda: seal(pool),
    }
