"""The documents of the catalog as they are stored: one struct per kind, money in integers. Pure.

A published document never changes, so a field may be added here with a default that means what its absence meant,
and none may be renamed or change its unit.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

from tallystick.catalog.plan import Feature, Meter, Plan
from tallystick.catalog.price import MARKUP_ONE, Rates, Usage, amount

EntryKind = Literal["provider", "cost_profile", "price", "route", "pack", "meter", "feature", "plan", "coupon"]
LimitParameter = Literal["max_tokens", "max_completion_tokens"]
ANY: Final = "*"


class CredentialReference(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a provider's secret is kept; exactly one is set. The secret itself is never part of the catalog."""

    env: str | None = None
    """The name of an environment variable of the server."""
    sealed: str | None = None
    """The name of a credential that is stored encrypted in the database."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream that models are called at."""

    name: str
    protocol: Literal["openai"]
    base_url: str
    credential: CredentialReference | None
    open_models: bool
    price_list: str
    limit_parameter: LimitParameter = "max_tokens"
    """How this provider wants the limit of output tokens called, where the client did not say it itself."""


class CostProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider charges us for a model, and the limits of that model."""

    provider: str
    model: str
    rates: Rates
    context_tokens: int | None = None
    output_tokens_max: int | None = None
    image_tokens_max: int | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What we charge for a model: the cost times a markup, or rates of its own; exactly one of them is set."""

    provider: str
    model: str
    markup_ppm: int | None
    rates: Rates | None
    allow_loss: bool = False

    def over(self, cost: Rates) -> tuple[Rates, int]:
        """The rates and the markup (in millionths) that a customer pays, given what the model costs us."""
        if self.rates is not None:
            return self.rates, MARKUP_ONE
        if self.markup_ppm is None:
            raise ValueError(f"price {self.provider}/{self.model} has neither a markup nor rates")
        return cost, self.markup_ppm


class RouteCandidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    provider: str
    model: str
    priority: int
    weight: int


class FallbackPolicy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    attempts_max: int
    on: tuple[Literal["connect", "timeout", "rate_limited", "server_error"], ...]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A name that customers call, and the models that may answer: the lowest priority number first."""

    alias: str
    candidates: tuple[RouteCandidate, ...]
    fallback: FallbackPolicy
    feature: str | None = None
    """The feature of which each call is one use, in the quota of its customer's tier."""


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """Credits sold in one piece: `amount_minor` cents of `currency` buy `credits` nanocredits."""

    slug: str
    name: str
    amount_minor: int
    currency: str
    credits: int
    description: str = ""
    payment: Literal["checkout", "manual"] = "checkout"
    """By card on a page of the payment provider, or only by an order that a person approves."""


class Coupon(msgspec.Struct, frozen=True, kw_only=True):
    """A code that is worth something, of four kinds, of which exactly one is set: whole percents or `amount_off_minor`
    cents off an order's price, `bonus` nanocredits on top of an order, or `free` nanocredits for nothing."""

    code: str
    percent_off: int | None
    amount_off_minor: int | None
    bonus: int | None
    free: int | None
    free_days: int | None
    """Days after which the free credits expire; None where they do not."""
    starts: datetime | None
    ends: datetime | None
    redemptions_max: int | None
    per_organization_max: int | None
    packs: tuple[str, ...] | None
    """The packs that it can be used for; None where it fits every purchase."""
    first_purchase: bool


Document = Provider | CostProfile | Price | Route | Pack | Meter | Feature | Plan | Coupon

_TYPES: Final[dict[EntryKind, type[Document]]] = {
    "provider": Provider,
    "cost_profile": CostProfile,
    "price": Price,
    "route": Route,
    "pack": Pack,
    "meter": Meter,
    "feature": Feature,
    "plan": Plan,
    "coupon": Coupon,
}
_DECODERS: Final = {kind: msgspec.json.Decoder(type_) for kind, type_ in _TYPES.items()}
_KINDS: Final = {type_: kind for kind, type_ in _TYPES.items()}


def kind_of(document: Document) -> EntryKind:
    return _KINDS[type(document)]


def name_of(document: Document) -> str:
    """The name a document is published under: unique within its kind."""
    match document:
        case Provider(name=name) | Route(alias=name) | Pack(slug=name) | Meter(name=name) | Feature(name=name):
            return name
        case Plan(slug=slug):
            return slug
        case Coupon(code=code):
            return code
        case CostProfile(provider=provider, model=model) | Price(provider=provider, model=model):
            return f"{provider}/{model}"


def encode(document: Document) -> str:
    """The JSON text of a document; every field is written, so that a later default cannot change what it meant."""
    return msgspec.json.encode(document).decode()


def decode(kind: EntryKind, text: str) -> Document:
    return _DECODERS[kind].decode(text)


def reprice(cost: CostProfile, price: Price, usage: Usage) -> tuple[int, int]:
    """The cost and the charge of `usage` under these two documents, in nanocredits: law 5, for any stored version."""
    rates, markup_ppm = price.over(cost.rates)
    return amount(cost.rates, usage), amount(rates, usage, markup_ppm)
