"""Find what would be sold below its cost, at any moment from now on. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import msgspec

from tallystick.catalog.book import Book
from tallystick.catalog.margin import Margin, margins
from tallystick.catalog.price import KINDS, PARENTS
from tallystick.catalog.rates import show_rate


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of usage that a price without allow_loss sells for less than it costs; not whether it starts today."""

    provider: str
    model: str
    price_name: str
    margin: Margin


def sentences(found: Iterable[Loss]) -> list[str]:
    """One sentence for each price and model. A part that loses exactly as its total does is not named again."""
    by_model: dict[tuple[str, str], set[Margin]] = defaultdict(set)
    for loss in found:
        by_model[loss.price_name, f"{loss.provider}/{loss.model}"].add(loss.margin)
    return [
        f"price {price}: {model} would be sold below cost, {'; '.join(_clauses(lost))}: "
        "raise it, or set allow_loss = true"
        for (price, model), lost in sorted(by_model.items())
    ]


def _clauses(lost: set[Margin]) -> list[str]:
    clauses = []
    for margin in sorted(lost, key=lambda margin: (margin.above_input_tokens, KINDS.index(margin.kind))):
        total = PARENTS.get(margin.kind)
        if total is None or msgspec.structs.replace(margin, kind=total) not in lost:
            above = f" above {margin.above_input_tokens} input tokens" if margin.above_input_tokens else ""
            # A price with its markup may be a fraction; down is the side that does not hide the loss.
            price = show_rate(margin.price.numerator // margin.price.denominator, margin.kind)
            clauses.append(f"{margin.kind}{above} at {price} for a cost of {show_rate(margin.cost, margin.kind)}")
    return clauses


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
