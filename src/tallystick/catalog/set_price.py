"""Set the price of one model by hand, beside the catalog file."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import asyncpg
import msgspec

from tallystick.catalog.difference import Difference
from tallystick.catalog.entries import read_price
from tallystick.catalog.price import Kind
from tallystick.catalog.publish import OPERATOR, publish, queries
from tallystick.catalog.read import versions
from tallystick.catalog.tables import PriceTable
from tallystick.catalog.timeline import Wanted, by_name, changes

SOURCE: Final = "cli"


async def set_price(
    connection: asyncpg.Connection,
    provider: str,
    model: str,
    *,
    now: datetime,
    rates: Mapping[Kind, Decimal] | None = None,
    markup: Decimal | None = None,
    allow_loss: bool = False,
    effective_from: datetime | None = None,
    dry_run: bool = False,
    by: str = OPERATOR,
) -> Difference:
    """Charge `rates` (dollars per million tokens, per image, per request) or the cost times `markup` for a model.

    From `effective_from` on, or from now. `model` may be "*", with a markup. Raises CatalogError as a catalog file
    with this price would. A file that names the same price has the last word when it is applied again.
    """
    written: dict[str, object] = {"provider": provider, "model": model, "markup": markup, "allow_loss": allow_loss}
    table = msgspec.convert(written | dict((rates or {}).items()), PriceTable)
    name = f"{provider}/{model}"
    wanted = Wanted(document=read_price(table, f"price {name}"), effective_from=effective_from)
    async with connection.transaction():
        await queries.take_turn(connection)
        published = await versions(connection, now)
        history = by_name(published)["price"].get(name, [])
        appended = changes("price", name, history, [wanted], source=SOURCE, now=now)
        return await publish(connection, published, appended, now=now, dry_run=dry_run, by=by)
