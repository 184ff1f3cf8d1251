"""Compare a price with the cost it is sold over, kind by kind and tier by tier. Pure."""

from fractions import Fraction

import msgspec

from tallystick.catalog.price import KINDS, MARKUP_ONE, Kind, Rates, rates_at


class Margin(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One kind of usage, for inputs larger than `above_input_tokens`: what it costs and what it is sold for.

    `cost` and `price` are nanocredits per 1,000,000 units; the price, with its markup applied, may be a fraction.
    """

    kind: Kind
    above_input_tokens: int
    cost: int
    price: Fraction

    @property
    def is_loss(self) -> bool:
        return self.price < self.cost

    @property
    def share(self) -> Fraction | None:
        """The part of the price that is kept, e.g. 1/5; None where nothing is charged and nothing is lost."""
        if self.price == 0:
            return None if self.cost == 0 else Fraction(-1)
        return (self.price - self.cost) / self.price


def margins(cost: Rates, price: Rates, markup_ppm: int) -> tuple[Margin, ...]:
    """Every kind that costs or charges something, at the base and above each bound of either side's tiers.

    A sum of usage can only lose money if one of its kinds does, so this comparison is complete.
    """
    bounds = sorted({-1, *(tier.above_input_tokens for tier in (*cost.tiers, *price.tiers))})
    found = []
    for bound in bounds:
        # Inside a tier all sizes share their rates, so the smallest one stands for them.
        paid, sold = rates_at(cost, bound + 1), rates_at(price, bound + 1)
        for kind in KINDS:
            cost_rate, price_rate = getattr(paid, kind), Fraction(getattr(sold, kind) * markup_ppm, MARKUP_ONE)
            if cost_rate or price_rate:
                found.append(Margin(kind=kind, above_input_tokens=max(bound, 0), cost=cost_rate, price=price_rate))
    return tuple(found)
