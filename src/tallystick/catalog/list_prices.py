"""Cost, price and margin of every model, for the operator who decides what to sell."""

from datetime import datetime

import asyncpg
import msgspec

from tallystick.catalog.book import Book
from tallystick.catalog.margin import Margin, margins
from tallystick.catalog.price import Rates
from tallystick.catalog.read import versions


class PriceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One model of one provider. Without a price, or without its provider published, it is not sold."""

    provider: str
    model: str
    cost_id: int
    cost: Rates
    price_id: int | None
    price: Rates | None
    """The rates that `markup_ppm` is applied to: the cost's, or the price's own."""
    markup_ppm: int | None
    margins: tuple[Margin, ...]
    allow_loss: bool
    is_sold: bool


async def list_prices(connection: asyncpg.Connection, now: datetime) -> list[PriceLine]:
    """Every model that has a cost at `now`, by provider and name."""
    book = Book(await versions(connection, now))
    providers = book.providers(now)
    lines = []
    for (provider, model), sale in sorted(book.sales(now).items()):
        cost, price = sale.cost.document, sale.price
        rates, markup_ppm = price.document.over(cost.rates) if price else (None, None)
        found = () if rates is None or markup_ppm is None else margins(cost.rates, rates, markup_ppm)
        lines.append(
            PriceLine(
                provider=provider,
                model=model,
                cost_id=sale.cost.id,
                cost=cost.rates,
                price_id=price.id if price else None,
                price=rates,
                markup_ppm=markup_ppm,
                margins=found,
                allow_loss=bool(price and price.document.allow_loss),
                is_sold=price is not None and provider in providers,
            )
        )
    return lines
