"""Find what would be sold below its cost, at any moment from now on. Pure."""

from datetime import datetime

import msgspec

from tallystick.catalog.book import Book
from tallystick.catalog.margin import Margin, margins
from tallystick.catalog.rates import PER_ONE, show_rate


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of usage that a price without allow_loss sells for less than it costs; not whether it starts today."""

    provider: str
    model: str
    price_name: str
    margin: Margin

    def sentence(self) -> str:
        kind, sold = self.margin.kind, self.margin.price
        unit = f"per {kind}" if kind in PER_ONE else "per million"
        above = f" above {self.margin.above_input_tokens} input tokens" if self.margin.above_input_tokens else ""
        # A price with its markup may be a fraction; down is the side that does not hide the loss.
        price = show_rate(sold.numerator // sold.denominator, kind)
        return (
            f"price {self.price_name}: {kind}{above} of {self.provider}/{self.model} would sell at {price} {unit} "
            f"and costs {show_rate(self.margin.cost, kind)}; raise it, or set allow_loss = true"
        )


def losses(book: Book, now: datetime) -> dict[Loss, datetime]:
    """Every loss at `now` or at a later moment that is already published, and when it begins."""
    found: dict[Loss, datetime] = {}
    for moment in book.moments(now):
        for (provider, model), sale in book.sales(moment).items():
            if sale.price is None or sale.price.document.allow_loss:
                continue
            price = sale.price.document
            rates, markup_ppm = price.over(sale.cost.document.rates)
            for margin in margins(sale.cost.document.rates, rates, markup_ppm):
                if margin.is_loss:
                    name = f"{price.provider}/{price.model}"
                    loss = Loss(provider=provider, model=model, price_name=name, margin=margin)
                    found.setdefault(loss, moment)
    return found
