"""An organization whose usage Stripe bills: what it uses, and what the offline Stripe then has."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import asyncpg
from msgspec.structs import replace

from tallystick.accounts import organization
from tallystick.base.changes import Changes
from tallystick.base.ids import new_id
from tallystick.catalog.meters import BUILT_IN
from tallystick.catalog.publish import apply
from tallystick.metering.record import Recorded, record_events
from tallystick.payments.billing.names import event_name
from tallystick.payments.meters.collect import collect_one
from tallystick.payments.meters.compare import Comparison, compare_one
from tallystick.payments.meters.send import send
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.meter import meters_by_event, units_between
from tallystick.subscriptions.follow import Billed, follow
from tallystick.subscriptions.live import LiveConstraints
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.turn import take_turn, write

HOUR = timedelta(hours=1)
SESSIONS, TOKENS = "agent_sessions", "llm_tokens_open_ai"
METERED = """
[[plan]]
slug = "metered"
name = "Metered"
strategy = "custom"
charges_models = false
usage_billing = "stripe"
price = 10
[[plan.meters]]
meter = "agent_sessions"
overage = { price = 0.50 }
"""
# The plan above has one more meter here.
CATALOG = (
    METERED
    + """
[[plan.meters]]
meter = "llm_tokens_open_ai"
overage = { price = 2, per = 1_000_000 }

[[provider]]
name = "open-ai"
base_url = "https://api.example.com/v1"

[[plan]]
slug = "included"
name = "With an allowance"
strategy = "overage"
usage_billing = "stripe"
price = 10
[[plan.meters]]
meter = "agent_sessions"
allowance = 5
overage = { price = 0.50 }

[[plan]]
slug = "ours"
name = "Billed by the ledger"
strategy = "payg"
credit_limit = 1_000
price = 10
[[plan.meters]]
meter = "agent_sessions"
overage = { price = 0.50 }
"""
)
LONG_AGO = datetime(2023, 1, 1, tzinfo=UTC)
_numbers = count(random.randrange(10**9))


@dataclass
class Metered:
    pool: asyncpg.Pool
    stripe: StripeClient
    id: str
    account: int
    customer: str
    since: datetime
    numbers: Any = field(default_factory=lambda: count(1))

    async def sessions(self, at: datetime, times: int = 1) -> list[Recorded]:
        """Usage events of agent sessions, as a product tells them: `at` may be long ago."""
        given = [
            {"id": f"e{next(self.numbers)}", "organization": self.id, "meter": SESSIONS, "at": at.isoformat()}
            for _ in range(times)
        ]
        constraints = LiveConstraints(self.pool, Changes(""))
        found = await record_events(self.pool, given, meters=lambda _: BUILT_IN, constraints_of=constraints.find)
        assert all(isinstance(one, Recorded) for one in found), found
        return [one for one in found if isinstance(one, Recorded)]

    async def tokens(
        self,
        at: datetime,
        units: int,
        *,
        charge: int = 0,
        state: str = "settled",
        provider: str = "open-ai",
        endpoint: str = "chat.completions",
    ) -> None:
        """A call through the gateway that ended `at`: its hold and its usage record."""
        id_ = new_id()
        actual = charge if state == "settled" else None
        await self.pool.execute(
            "insert into hold (id, account, amount, actual, state, created_at, expires_at)"
            " values ($1, $2, 0, $3, $4::hold_state, $5, $5)",
            *(id_, self.account, actual, state, at),
        )
        await self.pool.execute(
            "insert into usage_record (id, at, account, endpoint, alias, provider, model, stream, input_tokens,"
            " cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, input_audio_tokens,"
            " output_audio_tokens, images, usage_source, cost, charge, reserved, outcome, rule, status, attempts,"
            " latency_ms) values ($1, $2, $3, $8, 'fast', $4, 'm', false, $5, 0, 0, $6, 0, 0, 0, 0,"
            " 'provider', 1, $7, 0, 'completed', 'completed', 200, 1, 5)",
            *(id_, at, self.account, provider, units - units // 3, units // 3, charge, endpoint),
        )

    async def charged(self, at: datetime, units: int) -> None:
        """Agent sessions that an application charged `at`: a hold that claimed them, and its usage record."""
        await self.tokens(at, 0, endpoint="charge")
        await self.pool.execute(
            "update hold set claims = array[($1, $2, $3, $3, 0, 0, 1, 0)::claim]"
            " where account = $4 and created_at = $2",
            *(SESSIONS, at, units, self.account),
        )

    async def move(self, effective_at: datetime, *, plan: str | None = None, **changed: object) -> None:
        """Stripe changed the subscription, then."""
        async with self.pool.acquire() as connection, connection.transaction():
            turn = await take_turn(connection, self.id)
            if plan is not None:
                changed["plan_version"] = await connection.fetchval(
                    "select id from catalog_entry where kind = 'plan' and name = $1", plan
                )
            assert turn.found is not None
            after = replace(turn.found, **changed)
            await write(connection, turn.found, after, what="followed", by="stripe", effective_at=effective_at)
            await publish_constraints(connection, self.id)

    async def collect(self, now: datetime | None = None, *, all_: bool = False) -> int:
        async with self.pool.acquire() as connection:
            return await collect_one(connection, self.id, livemode=False, now=now, all_=all_)

    async def report(self, now: datetime | None = None) -> int:
        await self.collect(now)
        return await send(self.pool, self.stripe)

    async def compare(self) -> Comparison:
        return await compare_one(self.pool, self.stripe, self.id)

    async def at_stripe(self, meter: str = SESSIONS, since: datetime | None = None, to: datetime | None = None) -> int:
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        meters = await meters_by_event(self.stripe)
        start = (since or now - timedelta(days=34)).replace(second=0)
        return await units_between(
            self.stripe, meters[event_name(meter)], self.customer, start, to or now + 10 * timedelta(minutes=1)
        )

    async def rows(self) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.pool.fetch(
            "select * from meter_report where organization = $1 order by id", self.id
        )
        return rows

    async def states(self) -> list[str]:
        return [row["state"] for row in await self.rows()]

    async def hurry(self) -> None:
        """What waits for another attempt is due now."""
        await self.pool.execute("update meter_report set retry_at = clock_timestamp() where state = 'waiting'")

    async def age(self, by: timedelta) -> None:
        """As if all attempts had been made so much earlier."""
        await self.pool.execute(
            "update meter_report set first_attempt_at = first_attempt_at - $1::interval,"
            " attempted_at = attempted_at - $1::interval, sent_at = sent_at - $1::interval",
            by,
        )


async def open_metered(pool: asyncpg.Pool, stripe: StripeClient, since: datetime) -> Metered:
    """Subscribed, and billed by Stripe, from `since` on; periods are months from then."""
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=LONG_AGO)
        made = await organization.create(connection, name=f"Acme {next(_numbers)}")
        plan_version = await connection.fetchval("select max(id) from catalog_entry where name = 'metered'")
    customer = (await stripe.v1.customers.create_async({"metadata": {"organization": made.id}})).id
    await pool.execute(
        "insert into stripe_customer (organization, livemode, id) values ($1, false, $2)", made.id, customer
    )
    billed = Billed(
        customer=customer,
        id=f"sub_{made.id}",
        plan_version=plan_version,
        status="active",
        anchor=since,
        created_at=since,
    )
    async with pool.acquire() as connection:
        await follow(connection, made.id, billed, now=since)
    return Metered(pool, stripe, made.id, made.account, customer, since)
