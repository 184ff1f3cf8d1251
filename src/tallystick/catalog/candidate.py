"""A model as the gateway calls it and charges for it. Pure."""

from datetime import datetime

import msgspec

from tallystick.catalog.document import CostProfile, FallbackPolicy, LimitParameter, Price, Provider
from tallystick.catalog.price import Rates, Usage, amount


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One model that may answer a call, with everything needed to call it and to charge for it.

    `cost_rates` is what the provider charges us, `price_rates` x `markup_ppm` / 1,000,000 what the customer pays;
    `cost_id` and `price_id` are the versions they come from, to be kept with the usage.
    """

    provider: str
    protocol: str
    base_url: str
    credential: str | None
    model: str
    limit_parameter: LimitParameter
    context_tokens: int | None
    output_tokens_max: int | None
    image_tokens_max: int | None
    cost_id: int
    cost_rates: Rates
    price_id: int
    price_rates: Rates
    markup_ppm: int

    def cost(self, usage: Usage) -> int:
        """Nanocredits the provider charges us."""
        return amount(self.cost_rates, usage)

    def charge(self, usage: Usage) -> int:
        """Nanocredits the customer pays."""
        return amount(self.price_rates, usage, self.markup_ppm)

    def __repr__(self) -> str:
        # The generated one would print the credential into every log line and traceback.
        return f"Candidate({self.provider}/{self.model}, cost_id={self.cost_id}, price_id={self.price_id})"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name that customers can call; the first of its candidates, never empty, is the one that is called first."""

    name: str
    candidates: tuple[Candidate, ...]
    since: datetime
    fallback: FallbackPolicy
    feature: str | None = None
    """The feature of which each call is one use."""


def candidate(
    provider: Provider, credential: str | None, cost_id: int, cost: CostProfile, price_id: int, price: Price
) -> Candidate:
    """Join the documents that a call needs."""
    price_rates, markup_ppm = price.over(cost.rates)
    return Candidate(
        provider=provider.name,
        protocol=provider.protocol,
        base_url=provider.base_url,
        credential=credential,
        model=cost.model,
        limit_parameter=provider.limit_parameter,
        context_tokens=cost.context_tokens,
        output_tokens_max=cost.output_tokens_max,
        image_tokens_max=cost.image_tokens_max,
        cost_id=cost_id,
        cost_rates=cost.rates,
        price_id=price_id,
        price_rates=price_rates,
        markup_ppm=markup_ppm,
    )
