"""Make at Stripe what the catalog sells there: meters, products and prices. Told twice, the second changes nothing.

Everything is looked for before it is made, under a name that Stripe gives once, and kept here as soon as it is known:
so this may be stopped anywhere, and run by two at once.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.catalog.book import Held
from tallystick.catalog.plan import Plan
from tallystick.ledger import audit
from tallystick.payments.billing.names import event_name
from tallystick.payments.billing.wanted import WantedPrice, wanted_prices
from tallystick.payments.stripe.billing_meter import BillingMeter, billing_meters, create_billing_meter
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.price import (
    NewPrice,
    StripePrice,
    archive_price,
    create_price,
    find_price,
    price_by_key,
)
from tallystick.payments.stripe.product import create_product, find_product, rename_product
from tallystick.subscriptions.offer import read_offer
from tallystick.subscriptions.turn import OPERATOR

queries = load_queries(__file__, "sync.sql")

_DONE: Final = {"make": "made", "found": "found", "rename": "renamed", "archive": "archived"}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is None for what a dry run would make. A problem is for a person to solve; the rest is done without it."""

    what: Literal["make", "found", "rename", "archive", "problem"]
    kind: Literal["meter", "product", "price"]
    name: str
    id: str | None = None
    detail: str = ""


async def sync(
    pool: asyncpg.Pool,
    stripe: StripeClient,
    *,
    now: datetime | None = None,
    by: str = OPERATOR,
    dry_run: bool = False,
    progress: Callable[[Change], None] = lambda _change: None,
) -> Sequence[Change]:
    """What was changed at Stripe and here, in order. Raises PaymentPending, PaymentRefused: run it again."""
    async with pool.acquire() as connection:
        offer = await read_offer(connection, now)
        meters = offer.book.meters(offer.at)
    plans = offer.book.plans(offer.at)
    wanted = wanted_prices(plans)
    run = _Run(pool, stripe, by=by, dry_run=dry_run, progress=progress)
    titles = {name: meters[name].title if name in meters else _spoken(name) for name in _meters(wanted)}
    made = await run.meters(titles)
    await run.products({price.product: _product_name(price, titles) for price in wanted})
    await run.prices(wanted, made)
    await run.written_prices(plans)
    await run.archive({plan.id for plan in plans})
    return run.changes


def _product_name(price: WantedPrice, titles: Mapping[str, str]) -> str:
    return price.plan_name if price.meter is None else f"{price.plan_name}: {titles[price.meter]}"


def _spoken(meter: str) -> str:
    """A title for a meter that the catalog gives none: llm_tokens_openai is said LLM tokens openai."""
    return meter.replace("_", " ").replace("llm", "LLM", 1)


def _meters(wanted: Sequence[WantedPrice]) -> list[str]:
    return sorted({price.meter for price in wanted if price.meter is not None})


class _Run:
    def __init__(
        self,
        pool: asyncpg.Pool,
        stripe: StripeClient,
        *,
        by: str,
        dry_run: bool,
        progress: Callable[[Change], None],
    ) -> None:
        self._pool = pool
        self._stripe = stripe
        self._by = by
        self._dry_run = dry_run
        self._progress = progress
        self.changes: list[Change] = []

    async def meters(self, titles: Mapping[str, str]) -> dict[str, str]:
        """The ids of the billing meters, by the meters' names; of those that there are, in a dry run."""
        if not titles:
            return {}
        there = {found.event_name: found for found in await billing_meters(self._stripe)}
        kept = {row["meter"]: row["id"] async for row in queries.meters(self._pool, livemode=self._stripe.livemode)}
        ids: dict[str, str] = {}
        for name, title in titles.items():
            found = await self._meter(name, title, there.get(event_name(name)))
            if found is None:
                continue
            ids[name] = found.id
            if kept.get(name) != found.id and not self._dry_run:
                await queries.keep_meter(
                    self._pool,
                    livemode=self._stripe.livemode,
                    meter=name,
                    id=found.id,
                    event_name=found.event_name,
                )
        return ids

    async def _meter(self, name: str, title: str, found: BillingMeter | None) -> BillingMeter | None:
        if found is None and not self._dry_run:
            found = await create_billing_meter(self._stripe, event_name(name), title)
            await self._add("make", "meter", name, found.id)
        elif found is None:
            await self._add("make", "meter", name)
        elif not found.active:
            await self._add("problem", "meter", name, found.id, "it is deactivated at Stripe; reactivate it there")
        return found

    async def products(self, names: Mapping[str, str]) -> None:
        for product, name in names.items():
            found = await find_product(self._stripe, product)
            if found is None:
                if not self._dry_run:
                    await create_product(self._stripe, product, name)
                await self._add("make", "product", name, product)
            elif found != name:
                if not self._dry_run:
                    await rename_product(self._stripe, product, name)
                await self._add("rename", "product", name, product, f"was {found}")

    async def prices(self, wanted: Sequence[WantedPrice], meters: Mapping[str, str]) -> None:
        rows = [row async for row in queries.prices(self._pool, livemode=self._stripe.livemode)]
        kept = {(row["plan_version"], row["meter"]) for row in rows}
        for price in wanted:
            if (price.plan_version, price.meter) in kept:
                continue
            meter = None if price.meter is None else meters.get(price.meter)
            found = await price_by_key(self._stripe, price.lookup_key)
            what: Literal["make", "found"] = "make" if found is None else "found"
            if found is None and not self._dry_run:
                found = await create_price(
                    self._stripe,
                    NewPrice(
                        lookup_key=price.lookup_key,
                        product=price.product,
                        currency=price.currency,
                        interval=price.interval,
                        amount=price.amount,
                        meter=meter,
                    ),
                )
            if found is not None and (wrong := _differs(found, price.currency, price.interval, price)):
                await self._add("problem", "price", price.lookup_key, found.id, wrong)
                continue
            await self._add(what, "price", price.lookup_key, None if found is None else found.id, _amount(price))
            if found is not None and not self._dry_run:
                await queries.keep_price(
                    self._pool,
                    id=found.id,
                    livemode=self._stripe.livemode,
                    plan=price.plan,
                    plan_version=price.plan_version,
                    meter=price.meter,
                )

    async def written_prices(self, plans: Sequence[Held[Plan]]) -> None:
        """Those that the operator made, and wrote into the catalog: they are taken as they are, and looked at."""
        for plan in plans:
            named = plan.document.stripe_price
            if named is None:
                continue
            found = await find_price(self._stripe, named)
            wrong = "there is no such price at Stripe" if found is None else _written_wrong(found, plan.document)
            if wrong:
                await self._add("problem", "price", f"{plan.document.slug} {named}", named, wrong)

    async def archive(self, on_sale: set[int]) -> None:
        """Nobody new subscribes to a version that is not sold any more."""
        async with self._pool.acquire() as connection:
            rows = [row async for row in queries.prices(connection, livemode=self._stripe.livemode)]
        for row in rows:
            if row["active"] and row["plan_version"] not in on_sale:
                if not self._dry_run:
                    await archive_price(self._stripe, row["id"])
                    await queries.archive(self._pool, id=row["id"])
                meter = f" {row['meter']}" if row["meter"] else ""
                await self._add("archive", "price", f"{row['plan']} {row['plan_version']}{meter}", row["id"])

    async def _add(
        self,
        what: Literal["make", "found", "rename", "archive", "problem"],
        kind: Literal["meter", "product", "price"],
        name: str,
        id_: str | None = None,
        detail: str = "",
    ) -> None:
        change = Change(what=what, kind=kind, name=name, id=id_, detail=detail)
        self.changes.append(change)
        self._progress(change)
        if self._dry_run or what == "problem":
            return
        async with self._pool.acquire() as connection:
            await audit.record(
                connection, f"stripe.{kind}_{_DONE[what]}", by=self._by, subject=id_ or name, after=change
            )


def _differs(found: StripePrice, currency: str, interval: str, price: WantedPrice) -> str | None:
    same = (found.currency, found.interval, found.interval_count, found.amount) == (currency, interval, 1, price.amount)
    if same and (found.meter is None) == (price.meter is None):
        return None
    return f"a price of other content has this lookup key: {found.amount} {found.currency} a {found.interval}"


def _written_wrong(found: StripePrice, plan: Plan) -> str | None:
    said = (found.currency, found.interval, found.interval_count, found.amount)
    if said == (plan.currency, plan.interval, 1, Decimal(plan.amount_minor)):
        return None
    return f"it is {found.amount} {found.currency} a {found.interval}, and the plan {plan.amount_minor} {plan.currency}"


def _amount(price: WantedPrice) -> str:
    unit = "" if price.meter is None else f" for one of {price.meter}"
    return f"{price.amount.normalize():f} minor units of {price.currency} a {price.interval}{unit}"
