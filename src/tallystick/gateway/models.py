"""A model as the list of models shows it: OpenAI's fields, and what a customer pays, as exact text (pure)."""

from decimal import Decimal
from typing import Final

from tallystick.catalog.book import Candidate, Model
from tallystick.catalog.errors import UnknownModel
from tallystick.catalog.price import MARKUP_ONE, UNITS_PER_RATE, FlatRates, rates_at

_NANO: Final = 10**9


def described(model: Model) -> dict[str, object]:
    first = model.candidates[0]
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.since.timestamp()),
        "owned_by": first.provider,
        "context_length": first.context_tokens,
        "max_output_tokens": first.output_tokens_max,
        "pricing": _pricing(first),
        "architecture": {"input_modalities": _inputs(first), "output_modalities": ["text"]},
    }


def unknown(name: str) -> UnknownModel:
    return UnknownModel(f"There is no model {name!r}.")


def _pricing(candidate: Candidate) -> dict[str, object]:
    flat = rates_at(candidate.price_rates, 0)
    prices: dict[str, object] = _prices(flat, candidate.markup_ppm)
    if candidate.price_rates.tiers:
        prices["tiers"] = [
            {
                "above_input_tokens": tier.above_input_tokens,
                **_prices(rates_at(candidate.price_rates, tier.above_input_tokens + 1), candidate.markup_ppm),
            }
            for tier in candidate.price_rates.tiers
        ]
    return prices


def _prices(flat: FlatRates, markup_ppm: int) -> dict[str, object]:
    """Credits for one token, one image, one request: plain decimals, never in exponents."""
    return {
        name: _text(rate, markup_ppm)
        for name, rate in (
            ("prompt", flat.input),
            ("completion", flat.output),
            ("input_cache_read", flat.cached_input),
            ("input_cache_write", flat.cache_write),
            ("input_audio", flat.input_audio),
            ("internal_reasoning", flat.reasoning),
            ("output_audio", flat.output_audio),
            ("image", flat.image),
            ("request", flat.request),
        )
    }


def _text(rate: int, markup_ppm: int) -> str:
    exact = Decimal(rate) * markup_ppm / (UNITS_PER_RATE * MARKUP_ONE) / _NANO
    text = f"{exact:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _inputs(candidate: Candidate) -> list[str]:
    kinds = ["text"]
    if candidate.image_tokens_max:
        kinds.append("image")
    if candidate.price_rates.input_audio is not None:
        kinds.append("audio")
    return kinds
