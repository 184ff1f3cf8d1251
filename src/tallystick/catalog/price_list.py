"""What genai-prices says a model costs, as our rates. Only its data is read: its network updater is never started.

Its prices and ours mean the same: a sub-kind without a price of its own costs what its parent costs, a request costs
the highest tier whose bound its whole input exceeds, for all of its tokens. What it prices and we do not meter
(searches, seconds, pixels) is told as a note, never dropped in silence.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Final

import msgspec
from genai_prices.data import providers
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, TieredPrices, TimeOfDateConstraint

from tallystick.base.errors import NotFound
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.price import Kind, Rates, Tier
from tallystick.catalog.rates import DECIMALS, read_rate

# Its price key -> our kind, and how many of our units (a million tokens, one request) its price is for.
_KINDS: Final[dict[str, tuple[Kind, int]]] = {
    "input_mtok": ("input", 1),
    "cache_read_mtok": ("cached_input", 1),
    "cache_write_mtok": ("cache_write", 1),
    "input_audio_mtok": ("input_audio", 1),
    "output_mtok": ("output", 1),
    "output_reasoning_mtok": ("reasoning", 1),
    "output_audio_mtok": ("output_audio", 1),
    "requests_kcount": ("request", 1000),
}


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the price list: `rates` is None where nothing in its price can be metered. Notes are sentences."""

    model: str
    rates: Rates | None
    context_tokens: int | None
    notes: tuple[str, ...]


def known_providers() -> frozenset[str]:
    """The names under which the price list knows providers."""
    return frozenset(provider.id for provider in providers)


def listed(price_list: str, now: datetime, models: Sequence[str] = ()) -> list[Listed]:
    """The prices in force at `now` of these models of a provider, or of all that the list names.

    A model may be given in any spelling that the list recognises ("gpt-4o-2024-08-06"); it keeps that spelling.
    Raises NotFound for a provider or a model the list does not know.
    """
    provider = _provider(price_list)
    if not models:
        return [_listed(model.id, model, now) for model in provider.models]
    return [_listed(name, _model(provider, name), now) for name in models]


def recognises(price_list: str, model: str) -> bool:
    """Whether the list has a price for a model in this spelling."""
    return _find(_provider(price_list), model) is not None


def _provider(price_list: str) -> Provider:
    for provider in providers:
        if provider.id == price_list:
            return provider
    raise NotFound(f"genai-prices has no provider {price_list!r}; it has {', '.join(sorted(known_providers()))}.")


def _model(provider: Provider, name: str) -> ModelInfo:
    model = _find(provider, name)
    if model is None:
        raise NotFound(f"genai-prices has no price for {provider.id}/{name}.")
    return model


def _find(provider: Provider, name: str) -> ModelInfo | None:
    """The model of exactly this name, so that naming a model and importing all of them say the same; else the one
    whose spellings include it."""
    exact = next((model for model in provider.models if model.id == name), None)
    return exact or provider.find_model(name, all_providers=providers)


def _listed(name: str, model: ModelInfo, now: datetime) -> Listed:
    notes: list[str] = []
    price = _price_now(model, now, notes)
    if model.price_variants:
        contexts = sorted({f"{key}={value}" for variant in model.price_variants for key, value in variant.when.items()})
        notes.append(f"its other prices for {', '.join(contexts)} are not applied")
    written = {key: value for key, value in price.items() if value is not None}
    notes += [f"{key} {_show(value)} is not metered" for key, value in written.items() if key not in _KINDS]
    mapped = {key: value for key, value in written.items() if key in _KINDS}
    rates: Rates | None = None
    if mapped:
        try:
            rates = _rates(mapped, notes)
        except CatalogError as error:
            notes += error.problems
    else:
        notes.append("nothing in its price is metered, so it is not imported")
    return Listed(model=name, rates=rates, context_tokens=model.context_window or None, notes=tuple(notes))


def _price_now(model: ModelInfo, now: datetime, notes: list[str]) -> dict[str, Decimal | TieredPrices]:
    """The standard price at `now`. Where the hour of the day changes it, the dearest hour of each kind: a cost that
    is right at noon and too low at night would be a loss that nobody sees."""
    if isinstance(model.prices, ModelPrice):
        return dict(model.prices.__dict__)
    dated = [entry for entry in model.prices if not isinstance(entry.constraint, TimeOfDateConstraint)]
    standard = _newest(dated or model.prices, now)
    hourly = [
        entry
        for entry in model.prices[model.prices.index(standard) :]
        if isinstance(entry.constraint, TimeOfDateConstraint)
    ]
    if not hourly:
        return dict(standard.prices.__dict__)
    notes.append("its price changes with the hour of the day; the dearest hour is imported")
    return _dearest([standard.prices, *(entry.prices for entry in hourly)], notes)


def _newest(entries: Sequence[ConditionalPrice], now: datetime) -> ConditionalPrice:
    active = [entry for entry in entries if entry.constraint is None or entry.constraint.active(now)]
    return active[-1] if active else entries[0]


def _dearest(prices: Iterable[ModelPrice], notes: list[str]) -> dict[str, Decimal | TieredPrices]:
    dearest: dict[str, Decimal | TieredPrices] = {}
    for price in prices:
        for key, value in price.__dict__.items():
            known = dearest.get(key)
            if known is None:
                dearest[key] = value
            elif isinstance(value, Decimal) and isinstance(known, Decimal):
                dearest[key] = max(known, value)
            elif value is not None and value != known:
                notes.append(f"{key} has tiers that change with the hour; {_show(known)} is imported")
    return dearest


def _rates(prices: dict[str, Decimal | TieredPrices], notes: list[str]) -> Rates:
    base: dict[Kind, int] = {}
    tiers: dict[int, dict[Kind, int]] = {}
    for key, value in prices.items():
        kind, units = _KINDS[key]
        if isinstance(value, TieredPrices):
            base[kind] = _rate(value.base, units, kind, notes)
            for tier in value.tiers:
                tiers.setdefault(tier.start, {})[kind] = _rate(tier.price, units, kind, notes)
        else:
            base[kind] = _rate(value, units, kind, notes)
    if "request" in {kind for tier in tiers.values() for kind in tier}:
        raise CatalogError(["its price per request depends on the size of the input, so it is not imported"])
    ascending = tuple(Tier(above_input_tokens=start, **tiers[start]) for start in sorted(tiers))
    return Rates(**base, tiers=ascending)


def _rate(price: Decimal, units: int, kind: Kind, notes: list[str]) -> int:
    """Exact where nine decimals can say it; what cannot be said exactly is rounded up, and told."""
    exact = price / units
    rounded = exact.quantize(Decimal(1).scaleb(-DECIMALS), ROUND_CEILING)
    if rounded != exact:
        notes.append(f"{kind} {price} has more than {DECIMALS} decimals and is rounded up")
    return read_rate(rounded, "genai-prices", kind)


def _show(value: Decimal | TieredPrices) -> str:
    return f"{value.base} (with tiers)" if isinstance(value, TieredPrices) else f"{value}"
