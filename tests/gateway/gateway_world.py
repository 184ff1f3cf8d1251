"""A whole gateway: real server, real database, real lanes, real HTTP on both sides; only the model is made up."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from gateway_provider import FakeProvider
from gateway_server import serve
from msgspec.structs import replace
from openai import AsyncOpenAI

from tallystick.accounts import api_key, organization
from tallystick.accounts.authenticate import KeyRing
from tallystick.base.changes import Changes
from tallystick.base.ids import new_id
from tallystick.catalog.book import Book
from tallystick.catalog.publish import apply
from tallystick.catalog.read import load_book
from tallystick.gateway.journal import Journal
from tallystick.gateway.limits import Limits
from tallystick.gateway.outcome import DEFAULT, Policy
from tallystick.gateway.rates import Rates
from tallystick.gateway.server import GatewayApp
from tallystick.gateway.upstream import Upstream, UpstreamLimits
from tallystick.ledger.account import PlatformAccount, lane_of, platform_account
from tallystick.ledger.lot import add_lot
from tallystick.ledger.post import Transfer, post
from tallystick.ledger.verify import checks as ledger_checks
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.verify import checks as reservation_checks
from tallystick.subscriptions.live import LiveConstraints
from tallystick.subscriptions.subscribe import subscribe
from tests.patience import PATIENCE_S, eventually

SECRET = "sk-provider-0123456789abcdef"
# Round rates: 1,000 nanocredits for an input token, 500 for a cached one, 2,000 for an output one; twice the cost.
CATALOG = """
[[provider]]
name = "acme"
base_url = "{base_url}"
allow_http = true
credential = {{ env = "ACME_KEY" }}

[[cost_profile]]
provider = "acme"
model = "small-1"
input = 0.5
cached_input = 0.25
output = 1
context_tokens = 32000
output_tokens_max = 8000
image_tokens_max = 1000

[[cost_profile]]
provider = "acme"
model = "unpriced-1"
input = 1
output = 1

[[price]]
provider = "acme"
model = "small-1"
markup = 2

[[route]]
alias = "small"
candidates = [{{ provider = "acme", model = "small-1" }}]

[[route]]
alias = "unpriced"
candidates = [{{ provider = "acme", model = "unpriced-1" }}]
"""
INPUT, CACHED, OUTPUT = 1000, 500, 2000
CREDIT = 10**9
CHECKS = (*ledger_checks, *reservation_checks)


@dataclass
class Customer:
    organization: str
    account: int
    secret: str


@dataclass
class World:
    """A running gateway, and what a test asks of the books behind it."""

    dsn: str
    pool: asyncpg.Pool
    # A FakeProvider, or somebody else's with a base_url.
    provider: Any
    app: GatewayApp
    journal: Journal
    lanes: Lanes
    base_url: str
    folder: Path
    book: Book
    constraints: LiveConstraints
    clients: list[Any] = field(default_factory=list)

    async def customer(self, credits_nano: int = CREDIT, default_max_tokens: int | None = None) -> Customer:
        return await make_customer(self.pool, credits_nano, default_max_tokens)

    async def subscriber(self, plan: str, credits_nano: int = 0) -> Customer:
        made = await make_customer(self.pool, credits_nano)
        async with self.pool.acquire() as connection:
            await subscribe(connection, made.organization, plan)
        return made

    async def counted(self, customer: Customer, meter: str) -> tuple[int, int]:
        """What is used and what is held of a meter."""
        row = await self.pool.fetchrow(
            "select coalesce(sum(used), 0)::bigint as used, coalesce(sum(held), 0)::bigint as held from meter_counter"
            " where account = $1 and meter = $2",
            customer.account,
            meter,
        )
        return row["used"], row["held"]

    def sdk(self, customer: Customer, **options: Any) -> Any:
        client = AsyncOpenAI(base_url=self.base_url, api_key=customer.secret, max_retries=0, **options)
        self.clients.append(client)
        return client

    def http(self, customer: Customer | None = None, **options: Any) -> httpx.AsyncClient:
        headers = {} if customer is None else {"authorization": f"Bearer {customer.secret}"}
        client = httpx.AsyncClient(base_url=self.base_url, headers=headers, **{"timeout": PATIENCE_S, **options})
        self.clients.append(client)
        return client

    async def posted(self, customer: Customer) -> int:
        return int(await self.pool.fetchval("select posted from ledger_account where id = $1", customer.account))

    async def records(self, customer: Customer) -> list[asyncpg.Record]:
        return list(
            await self.pool.fetch("select * from usage_record where account = $1 order by id", customer.account)
        )

    async def record(self, customer: Customer) -> asyncpg.Record:
        """Of the only call there was, once it has been settled."""
        await self.quiet(customer)
        (found,) = await self.records(customer)
        return found

    async def quiet(self, customer: Customer) -> None:
        """Wait until no hold is open."""

        async def none_is_open() -> bool:
            return not await self.open_holds(customer)

        await eventually(none_is_open)

    async def open_holds(self, customer: Customer) -> int:
        return int(
            await self.pool.fetchval(
                "select count(*) from hold where account = $1 and state = 'open'", customer.account
            )
        )

    async def check_books(self, customer: Customer, funds: int = CREDIT, *, by_price: bool = True) -> None:
        """Funds - charges = balance, nothing is held, and every charge is its price times its usage, where it is the
        price book that charges."""
        await self.quiet(customer)
        account = await self.pool.fetchrow("select * from ledger_account where id = $1", customer.account)
        records = await self.records(customer)
        assert account["posted"] == funds - sum(row["charge"] for row in records)
        assert account["held"] == 0
        settled = await self.pool.fetchval(
            "select coalesce(sum(actual), 0) from hold where account = $1 and state = 'settled'", customer.account
        )
        assert settled == sum(row["charge"] for row in records)
        async with self.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            broken = [problem for check in CHECKS for problem in await check.run(connection)]
        assert broken == []
        for row in records:
            if row["charge"] and by_price:
                plain = row["input_tokens"] - row["cached_tokens"]
                exact = plain * INPUT + row["cached_tokens"] * CACHED + row["output_tokens"] * OUTPUT
                assert row["charge"] == exact


async def make_customer(pool: asyncpg.Pool, credits_nano: int, default_max_tokens: int | None = None) -> Customer:
    async with pool.acquire() as connection, connection.transaction():
        made = await organization.create(connection, name="Customer")
        if default_max_tokens:
            await connection.execute(
                "update organization set default_max_tokens = $2 where id = $1", made.id, default_max_tokens
            )
        key = await api_key.create(connection, organization=made.id, name="test")
        if credits_nano:
            grant = new_id()
            lanes = await connection.fetchval("select lanes from ledger_layout")
            source = platform_account(PlatformAccount.PROMOTIONAL_EXPENSE, lane_of(made.account, lanes))
            await post(
                connection,
                operation=grant,
                kind="grant",
                transfers=[Transfer(source, made.account, credits_nano)],
                fingerprint="test",
            )
            await add_lot(
                connection, id=grant, account=made.account, kind="promotional", amount=credits_nano, source="test"
            )
    return Customer(made.id, made.account, key.secret)


# Nothing runs out of time but what a test wants to: it is named there.
LIMITS = Limits(
    body_bytes_max=200_000, body_s=PATIENCE_S, drain_s=PATIENCE_S, shutdown_s=2.0, settle_s=PATIENCE_S, progress_s=0.1
)
UPSTREAM = UpstreamLimits(connect_s=PATIENCE_S, first_byte_s=PATIENCE_S, between_s=PATIENCE_S, total_s=2 * PATIENCE_S)
# Who waits for a database that was taken away waits as long.
HASTY_S = 2.0
HASTY = replace(LIMITS, settle_s=HASTY_S / 2)


@contextlib.asynccontextmanager
async def run_world(
    dsn: str,
    pool: asyncpg.Pool,
    folder: Path,
    *,
    limits: Limits = LIMITS,
    upstream: UpstreamLimits = UPSTREAM,
    policy: Policy = DEFAULT,
    provider: Any = None,
    plans: str = "",
    rates: Rates | None = None,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[World]:
    """`plans` are further tables of the catalog."""
    async with contextlib.AsyncExitStack() as stack:
        if provider is None:
            provider = FakeProvider()
            await provider.start()
            stack.push_async_callback(provider.stop)
        async with pool.acquire() as connection:
            await apply(connection, CATALOG.format(base_url=provider.base_url) + plans, now=datetime.now(UTC))
            book = await load_book(connection, lambda _reference: SECRET)
        changes = Changes(dsn)
        lanes = Lanes(dsn, patience_s=patience_s)
        journal = Journal(folder)
        keyring = KeyRing(pool, changes)
        constraints = LiveConstraints(pool, changes)
        await changes.start()
        stack.push_async_callback(changes.stop)
        await lanes.start()
        stack.push_async_callback(lanes.stop)
        app = GatewayApp(
            pool=pool,
            lanes=lanes,
            keyring=keyring,
            constraints=constraints,
            rates=rates or Rates(),
            book=lambda: book,
            upstream=Upstream(upstream),
            journal=journal,
            limits=limits,
            policy=policy,
        )
        await app.start()
        stack.push_async_callback(app.shutdown)
        base_url = await stack.enter_async_context(serve(app))
        world = World(dsn, pool, provider, app, journal, lanes, base_url, folder, book, constraints)
        yield world
        for client in world.clients:
            await (client.aclose() if isinstance(client, httpx.AsyncClient) else client.close())


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "small", "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 100, **fields}


def hold_of(response: httpx.Response) -> UUID:
    return UUID(response.headers["x-request-id"])
