"""The tables of a catalog file, as its author writes them: docs/reference/catalog.md explains every key. Pure.

Money is decimal here (dollars per million tokens, dollars per image and per request) and becomes integers in
`catalog.file`, which also checks what a type cannot say.
"""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from tallystick.catalog.plan import Aggregation, Interval, Strategy, UsageBilling

Limit = int | Literal["unlimited"]
"""TOML has no null: what has no end says so."""


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A misspelt key must not be read as a missing one."""


class CredentialTable(Table, frozen=True, kw_only=True):
    env: str | None = None
    sealed: str | None = None


class ProviderTable(Table, frozen=True, kw_only=True):
    name: str
    base_url: str
    protocol: Literal["openai"] = "openai"
    credential: CredentialTable | None = None
    allow_http: bool = False
    open_models: bool = False
    price_list: str | None = None
    limit_parameter: Literal["max_tokens", "max_completion_tokens"] | None = None


class TierTable(Table, frozen=True, kw_only=True):
    above_input_tokens: int
    input: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    input_audio: Decimal | None = None
    output: Decimal | None = None
    reasoning: Decimal | None = None
    output_audio: Decimal | None = None


class RatesTable(Table, frozen=True, kw_only=True):
    input: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    input_audio: Decimal | None = None
    output: Decimal | None = None
    reasoning: Decimal | None = None
    output_audio: Decimal | None = None
    image: Decimal | None = None
    request: Decimal | None = None
    tiers: list[TierTable] = []


class CostProfileTable(RatesTable, frozen=True, kw_only=True):
    provider: str
    model: str
    context_tokens: int | None = None
    output_tokens_max: int | None = None
    image_tokens_max: int | None = None
    effective_from: datetime | None = None


class PriceTable(RatesTable, frozen=True, kw_only=True):
    provider: str
    model: str
    markup: Decimal | None = None
    allow_loss: bool = False
    effective_from: datetime | None = None


class CandidateTable(Table, frozen=True, kw_only=True):
    provider: str
    model: str
    priority: int = 0
    weight: int = 1


class FallbackTable(Table, frozen=True, kw_only=True):
    attempts_max: int = 1
    on: list[Literal["connect", "timeout", "rate_limited", "server_error"]] = []


class RouteTable(Table, frozen=True, kw_only=True):
    alias: str
    candidates: list[CandidateTable]
    fallback: FallbackTable = FallbackTable()
    feature: str | None = None


class PackTable(Table, frozen=True, kw_only=True):
    slug: str
    name: str
    amount: Decimal
    currency: str = "usd"
    credits: Decimal | None = None
    description: str = ""
    payment: Literal["checkout", "manual"] = "checkout"


class CouponTable(Table, frozen=True, kw_only=True):
    code: str
    percent_off: int | None = None
    amount_off: Decimal | None = None
    bonus_credits: Decimal | None = None
    free_credits: Decimal | None = None
    free_days: int | None = None
    starts: datetime | None = None
    ends: datetime | None = None
    redemptions_max: int | None = None
    per_organization_max: Limit = 1
    packs: list[str] | None = None
    first_purchase: bool = False


class MeterTable(Table, frozen=True, kw_only=True):
    name: str
    title: str
    unit: str
    aggregation: Aggregation


class FeatureTable(Table, frozen=True, kw_only=True):
    name: str
    title: str
    limits: dict[str, Limit]


class OverageTable(Table, frozen=True, kw_only=True):
    price: Decimal
    per: int = 1


class PlanMeterTable(Table, frozen=True, kw_only=True):
    meter: str
    allowance: Decimal | None = None
    cap: Decimal | None = None
    overage: OverageTable | None = None


class PlanRatesTable(Table, frozen=True, kw_only=True):
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


class PlanTable(Table, frozen=True, kw_only=True):
    slug: str
    name: str
    strategy: Strategy
    price: Decimal
    currency: str = "usd"
    interval: Interval = "month"
    tier: str = "free"
    meters: list[PlanMeterTable] = []
    charges_models: bool | None = None
    quotas: dict[str, Limit] = {}
    features: list[str] = []
    rates: PlanRatesTable = PlanRatesTable()
    routes: list[str] | None = None
    auth_modes: tuple[Literal["credits", "byok"], ...] = ("credits",)
    credit_limit: Decimal = Decimal(0)
    overdraft: Decimal = Decimal(0)
    default_max_tokens: int | None = None
    trial_days: int = 0
    grace_days: int = 7
    default: bool = False
    stripe_price: str | None = None
    usage_billing: UsageBilling = "own"


TABLES: dict[str, type[Table]] = {
    "provider": ProviderTable,
    "cost_profile": CostProfileTable,
    "price": PriceTable,
    "route": RouteTable,
    "pack": PackTable,
    "meter": MeterTable,
    "feature": FeatureTable,
    "plan": PlanTable,
    "coupon": CouponTable,
}
