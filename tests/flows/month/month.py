"""A month: day after day at Stripe, everybody does what they planned, and in between the upkeep does its part."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallystick.catalog.publish import apply
from tallystick.payments.billing.sync import sync
from tallystick.payments.errors import PaymentPending
from tallystick.payments.reconcile.reconcile import reconcile
from tests.flows.month.act import DAYS
from tests.flows.month.acts import act_on
from tests.flows.month.catalog import CATALOG
from tests.flows.month.customer import Customer, Later, sign_up
from tests.flows.month.plan import lives
from tests.flows.month.rounds import work
from tests.flows.month.server import DAY_LOCK
from tests.flows.month.stage import DAY_S, Stage

LONG_AGO: Final = datetime(2023, 1, 1, tzinfo=UTC)
# "distinct": each kind of call fails once, a 500 that its key remembers among it. "single": every single call does.
FAULTS: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "distinct": {"scope": "endpoint", "seconds": 0.05},
    "single": {"scope": "call", "seconds": 0.01},
}
_ROUNDS_TO_THE_END: Final = 12
_TRIES, _AT_ONCE = 6, 6


@dataclass
class Month:
    """`faults` is one of FAULTS; with any, webhooks are lost, doubled and late as well, and the server is killed."""

    stage: Stage
    seed: int
    numbers: Iterable[int]
    faults: str
    step_days: int = 1
    kills: int = 3
    progress: Callable[[str], None] = lambda _line: None
    customers: Sequence[Customer] = ()
    figures: Counter[str] = field(default_factory=Counter)

    async def live(self) -> None:
        """From the first day to now, and on until nothing is open. Raises AssertionError where that never comes."""
        began = time.monotonic()
        await self._prepare()
        killing = set(random.Random(self.seed).sample(range(0, DAYS - 2, self.step_days), self.kills))
        for day in range(0, DAYS, self.step_days):
            await self._live_until(day + self.step_days - 1, kill=self.faults != "none" and day in killing)
            open_, left = await self._between(), sum(len(one.left) for one in self.customers)
            self.progress(f"day {day:2}: {left} acts left, {len(open_)} open, {time.monotonic() - began:.0f} s")
            self._why(day)
            await self._move_on(self.step_days * DAY_S)
            self.progress(f"moved {time.monotonic() - began:.0f} s")
        await self._end()
        self.figures["seconds"] = int(time.monotonic() - began)

    async def _prepare(self) -> None:
        stage = self.stage
        async with stage.pool.acquire() as connection:
            await apply(connection, CATALOG, now=LONG_AGO)
        self.customers = [await sign_up(stage, life) for life in lives(self.seed, self.numbers)]
        chance = random.Random(self.seed)
        await stage.control("account", after_retries=chance.choice(("canceled", "unpaid")))
        if self.faults != "none":
            await stage.control("faults/everything", **FAULTS[self.faults])
            await stage.control("webhooks/rules", loss_rate=0.1, duplicate_rate=0.2, delay_max_s=0.5, seed=self.seed)
        await self._sell()
        await stage.start()
        await work(stage, LONG_AGO)

    async def _sell(self) -> None:
        for _ in range(20):
            try:
                await sync(self.stage.pool, self.stage.stripe)
            except PaymentPending:
                # Most pass at once. A failure that Stripe remembers under its key is forgotten after a day.
                await self._move_on(2 * 3600)
            else:
                return
        raise AssertionError("nothing can be sold at Stripe")

    async def _live_until(self, day: int, *, kill: bool) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(customer: Customer) -> None:
            async with slots:
                await _live(self.stage, customer, day)

        dying = asyncio.create_task(self._kill_soon()) if kill else None
        await asyncio.gather(*(one(customer) for customer in self.customers))
        if dying is not None:
            await dying

    async def _kill_soon(self) -> None:
        await asyncio.sleep(random.Random(self.seed).uniform(0.05, 0.5))
        await self.stage.kill()

    async def _between(self) -> list[str]:
        """What has come to Stripe is on its way to us; no call of ours is without an answer when the day ends."""
        await self.stage.control("webhooks/wait", show=False, timeout_s=60)
        since = await self.stage.now() - timedelta(days=self.step_days)
        open_: list[str] = []
        for _ in range(3):
            open_ = await work(self.stage, since)
            if not open_:
                break
        return open_

    async def _move_on(self, seconds: int) -> None:
        stage, now = self.stage, await self.stage.now()
        # Never beyond now, where Stripe's clock and ours are one again.
        left = int(time.time()) - int(now.timestamp())
        if left > 0:
            async with stage.pool.acquire() as connection, connection.transaction():
                await connection.execute("select pg_advisory_xact_lock($1)", DAY_LOCK)
                await stage.control("clock", advance_s=min(seconds, left))
        if now.toordinal() % 7 == 0 or self.step_days > 1:
            await stage.control("payouts", arrives_after_s=DAY_S)
        try:
            await reconcile(stage.pool, stage.stripe, stage.inbox, since=now - timedelta(days=3))
        except PaymentPending:
            self.figures["reconcile stopped"] += 1

    def _why(self, day: int) -> None:
        for customer in self.customers:
            if customer.left and customer.left[0].day < day + self.step_days:
                self.progress(f"  {customer.life.number} waits: {customer.waits_for[:300]}")

    async def _end(self) -> None:
        stage = self.stage
        for number in range(_ROUNDS_TO_THE_END):
            await stage.control("webhooks/wait", show=False, timeout_s=60)
            await self._live_until(DAYS, kill=False)
            open_ = await work(stage, LONG_AGO)
            left = [f"{one.organization} {one.left[0]}: {one.waits_for}" for one in self.customers if one.left]
            if not open_ and not left and number:
                self.figures["rounds to the end"] = number + 1
                break
        else:
            raise AssertionError(f"this never ends: {left + open_}")
        await stage.control("webhooks/wait", show=False, timeout_s=60)
        stage.end()
        self.figures["kills"] = stage.kills


async def _live(stage: Stage, customer: Customer, day: int) -> None:
    tries = 0
    while customer.left and customer.left[0].day <= day and tries < _TRIES:
        try:
            await act_on(stage, customer, customer.left[0])
        except Later as error:
            customer.waits_for = str(error)
            tries += 1
            await asyncio.sleep(0.1 * tries)
        else:
            customer.left.popleft()
            tries = 0
    customer.late = customer.late or bool(customer.left and customer.left[0].day <= day)
